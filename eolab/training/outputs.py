"""Losses and metrics of a model by its outputs, under names that follow from the outputs alone.

A model with a dict of outputs has columns ``<output>_<metric>`` in its history, such as ``mask_f1`` and
``val_mask_f1``, and, with more than one output that has a loss, ``<output>_loss`` besides ``loss``.
"""

import json
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from eolab.core.errors import check_known
from eolab.models.sequences.inputs import TwoClasses
from eolab.training import distributed, losses

PLAIN = "plain"  # stands for the output of a model whose output has no name


class Trained(keras.Model):
    """A network as it is trained: its losses read logits, and its loss is that of a whole epoch.

    ``loss`` and ``val_loss`` are, for each output with a loss, the mean over all elements of the epoch that
    count, by their weights, whatever batch they came in; their sum over the outputs; and the penalties of the
    weights. So neither padding nor the size of the batches changes ``val_loss``. Losses of regions alone are
    of a batch; their mean goes by what counts in each.

    It shares its layers with the network, which goes on giving probabilities. Where an output does not end
    in an activation layer of its own, or that of another kind of loss, the loss reads probabilities.

    Args:
        network: The network.
        loss: Losses by output, from :func:`loss_of`.
        validation_loss: The same for validation.
        metrics: Scores by output, from :func:`metrics_of`.
    """

    def __init__(
        self,
        network: keras.Model,
        loss: Mapping[str, keras.losses.Loss],
        validation_loss: Mapping[str, keras.losses.Loss],
        metrics: Mapping[str, list[keras.metrics.Metric]],
    ) -> None:
        found = {name: _logits(part_of(network.output, name), one) for name, one in loss.items()}
        read = {name: tensor for name, tensor in found.items() if tensor is not None}
        super().__init__(network.input, (network.output, read), name=network.name)
        self.of_training, self.of_validation = dict(loss), dict(validation_loss)
        self.penalty = keras.metrics.Mean(name="penalty")
        self.means = {name: keras.metrics.Mean(name=f"{name}_loss") for name in loss}
        self.scores = {name: list(parts) for name, parts in metrics.items()}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss of a batch, and add it to that of the epoch."""
        total = sum((ops.sum(one) for one in self.losses), start=ops.zeros(()))
        self.penalty.update_state(total)
        total = total * distributed.share_of(1.0)
        for name, loss in (self.of_training if training else self.of_validation).items():
            label, weight, found = (part_of(one, name) for one in (y, sample_weight, y_pred[0]))
            if not isinstance(loss, losses.Loss):
                value, counted = loss(label, found, weight), ops.shape(label)[0]
            elif name in y_pred[1]:
                value, counted = loss.mean(label, y_pred[1][name], weight)
            else:
                value, counted = loss.mean(label, found, weight, logits=False)
            self.means[name].update_state(value, counted)
            total = total + value * distributed.share_of(counted)
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Add the probabilities of a batch to the scores; return all numbers of the epoch so far."""
        for name, scores in self.scores.items():
            for score in scores:
                score.update_state(*(part_of(one, name) for one in (y, y_pred[0], sample_weight)))
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the numbers of the epoch so far by name."""
        found = super().get_metrics_result()
        parts = {f"{name}_loss": found[f"{name}_loss"] for name in self.means}
        if len(parts) == 1:
            found.pop(*parts)
        found["loss"] = found.pop("penalty") + sum(parts.values())
        return found


def part_of(values: Any, name: str) -> Any:
    """Return what belongs to an output."""
    return values[name] if isinstance(values, Mapping) else values


def _logits(output: Any, loss: Any) -> Any:
    """Return what the last activation of an output takes, None where a loss cannot be read from that."""
    layer, kind = output._keras_history.operation, getattr(loss, "kind", "")
    if isinstance(layer, TwoClasses) and kind == "classes":
        output = layer.input  # one sigmoid
        layer = output._keras_history.operation
    if not isinstance(layer, keras.layers.Activation):
        return None
    several = {"classes": "softmax", "labels": "sigmoid"}.get(kind)
    wanted = "sigmoid" if several and output.shape[-1] == 1 else several
    return layer.input if layer.activation.__name__ == wanted else None


def names(model: keras.Model) -> list[str]:
    """Return the names of a model's outputs in Keras's order; none where its output is not a dict."""
    output = getattr(model, "output", None)
    return keras.tree.flatten({name: name for name in output}) if isinstance(output, Mapping) else []


def loss_of(model: keras.Model, loss: Any) -> dict[str, keras.losses.Loss]:
    """Return the losses of a model by output.

    Args:
        model: The model.
        loss: What :func:`eolab.training.losses.build` takes, or such losses by output; None for cross
            entropy. What is not given by output holds for every output.

    Raises:
        ParameterError: If a loss is unknown, or an output is not the model's.
    """
    outputs = names(model)
    loss = "ce" if loss is None else loss
    if not outputs:
        return {PLAIN: losses.build(loss)}
    given = loss if _by_output(loss) else dict.fromkeys(outputs, loss)
    for name in given:
        check_known(name, outputs, f"There is no output {name!r} for a loss")
    return {name: losses.build(part) for name, part in given.items() if part is not None}


def metrics_of(model: keras.Model, metrics: Any) -> dict[str, list[keras.metrics.Metric]]:
    """Return the metrics of a model by output, each with the name of its column.

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
        return {PLAIN: [_copied(part, "") for part in metrics]}
    by_output = metrics if isinstance(metrics, Mapping) else dict.fromkeys(outputs, metrics)
    found = {}
    for name, given in by_output.items():
        check_known(name, outputs, f"There is no output {name!r} for a metric")
        parts = given if isinstance(given, list) else [given]
        found[name] = [_copied(part, f"{name}_") for part in parts]
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
