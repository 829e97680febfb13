"""Losses and metrics of a model by its outputs, under names that follow from the outputs alone.

A model with a dict of outputs has columns ``<output>_<metric>`` in its history, such as ``mask_f1`` and
``val_mask_f1``, and, with more than one output that has a loss, ``<output>_loss`` besides ``loss``. Keras
itself leaves out the name where the dict has a single entry; here it stays, so that ``monitor`` need not know
how many outputs there are.
"""

import json
from collections.abc import Mapping
from typing import Any

import keras

from eolab.core.errors import check_known
from eolab.training import losses


def names(model: keras.Model) -> list[str]:
    """Return the names of a model's outputs in Keras's order; none where its output is not a dict."""
    output = getattr(model, "output", None)
    return keras.tree.flatten({name: name for name in output}) if isinstance(output, Mapping) else []


def loss_of(model: keras.Model, loss: Any) -> Any:
    """Return what Keras takes as loss.

    Args:
        model: The model.
        loss: What :func:`eolab.training.losses.build` takes, or such losses by output; None for cross
            entropy. What is not given by output holds for every output.

    Raises:
        ParameterError: If a loss is unknown, or an output is not the model's.
    """
    outputs = names(model)
    if loss is None:
        several = not outputs and model.output_shape[-1] > 1
        loss = keras.losses.SparseCategoricalCrossentropy() if several else "ce"
    if not outputs:
        return losses.build(loss)
    given = loss if _by_output(loss) else dict.fromkeys(outputs, loss)
    for name in given:
        check_known(name, outputs, f"There is no output {name!r} for a loss")
    return {name: losses.build(part) for name, part in given.items() if part is not None}


def metrics_of(model: keras.Model, metrics: Any) -> Any:
    """Return what Keras takes as weighted metrics.

    Args:
        model: The model.
        metrics: Keras metrics: a list, or lists by output; None for accuracy. A list holds for every output.

    Raises:
        ParameterError: If an output is not the model's.
    """
    outputs = names(model)
    if not isinstance(metrics, Mapping):
        metrics = metrics or [losses.PooledAccuracy()]
    if not outputs:
        return metrics
    by_output = metrics if isinstance(metrics, Mapping) else dict.fromkeys(outputs, metrics)
    prefix = f"{outputs[0]}_" if len(outputs) == 1 else ""
    found = {}
    for name, given in by_output.items():
        check_known(name, outputs, f"There is no output {name!r} for a metric")
        found[name] = [_copied(part, prefix) for part in (given if isinstance(given, list) else [given])]
    return found


def described(loss: Any) -> Any:
    """Return a loss as JSON values that tell it from another one; None for the default."""
    if _by_output(loss):
        return {str(name): described(part) for name, part in loss.items()}
    if isinstance(loss, str | Mapping | losses.Loss):
        return str(losses.build(loss))
    if isinstance(loss, keras.losses.Loss):
        return f"{type(loss).__name__} {json.dumps(loss.get_config(), sort_keys=True, default=str)}"
    return loss


def _by_output(loss: Any) -> bool:
    return isinstance(loss, Mapping) and not losses.is_sum(loss)


def _copied(metric: Any, prefix: str) -> keras.metrics.Metric:
    """Return a metric of its own for one output, its name with the prefix."""
    found = keras.metrics.get(metric)
    if not isinstance(found, keras.metrics.Metric):
        return keras.metrics.MeanMetricWrapper(found, name=prefix + getattr(found, "__name__", "metric"))
    return type(found).from_config({**found.get_config(), "name": prefix + found.name})
