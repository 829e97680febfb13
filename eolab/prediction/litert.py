"""LiteRT files of Keras models: float32, float16 weights, or int8 calibrated on samples.

What a file takes and gives is float32 in every quantisation. In int8, weights and activations are 8-bit
integers (Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference): weights with a scale a channel, activations with a scale a tensor, taken
from the range that they have on the calibration samples. Band normalisation stays float32, because one scale
for bands of different units would leave some of them a few steps only; so do operations that LiteRT has no
integer kernel for.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from eolab.core.errors import DataError, EolabError, ParameterError, did_you_mean
from eolab.core.files import write_atomically
from eolab.prediction.engines import Shape, input_dtypes, inputs_of
from eolab.prediction.silence import quiet, reason
from eolab.prediction.sources import keras_model

Quantisation = Literal["float32", "float16", "int8"]
QUANTISATIONS: tuple[str, ...] = get_args(Quantisation)

Sample = Mapping[str, np.ndarray]


def export_litert(
    source: Any,
    path: str | Path,
    quantisation: Quantisation = "float32",
    calibration: Iterable[np.ndarray | Sample] | None = None,
) -> Path:
    """Write a trained model as a LiteRT file, which takes one sample at a time.

    Args:
        source: A Keras model, its file, or a run folder with ``model.keras``.
        path: File to write, ``.tflite``.
        quantisation: ``"float32"``; ``"float16"``: weights in half the room; ``"int8"``: a quarter of it,
            and integers compute. Inputs and outputs are float32 in all three.
        calibration: Samples of the training split for ``"int8"``, a hundred or so: images (H, W, C), or the
            model's inputs by name without the batch axis.

    Returns:
        The file.

    Raises:
        DataError: If there is no model, or a calibration sample does not fit it.
        ParameterError: If the quantisation is unknown, calibration is missing, or the model cannot be
            converted.

    Example:
        >>> export_litert(run_folder, "model_int8.tflite", "int8", calibration=store["image"][train_rows])
        >>> predictor = prediction.load("model_int8.tflite")
    """
    path = Path(path)
    if path.suffix != ".tflite":
        raise ParameterError(f"{path} does not end in .tflite: name the file so that it is known again.")
    content = convert(keras_model(source), quantisation, calibration)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return path


def convert(
    model: Any, quantisation: str = "float32", calibration: Iterable[np.ndarray | Sample] | None = None
) -> bytes:
    """Return a Keras model as the content of a LiteRT file; see :func:`export_litert`."""
    _check(quantisation, calibration)
    samples = list(_samples(model, calibration)) if quantisation == "int8" and calibration is not None else []
    if quantisation == "int8" and not samples:
        raise DataError("No sample to calibrate int8 with: give some of the training split.")
    try:
        with quiet():
            return _converted(model, quantisation, samples)
    except EolabError:
        raise
    except Exception as error:  # the converter raises nearly anything
        raise ParameterError(
            f"This model cannot be converted to LiteRT {quantisation} "
            f"({type(error).__name__}: {reason(error)}): use another quantisation or another engine."
        ) from None


def _check(quantisation: str, calibration: Any) -> None:
    if quantisation not in QUANTISATIONS:
        raise ParameterError(
            f"There is no quantisation {quantisation!r}: {did_you_mean(quantisation, QUANTISATIONS)}"
        )
    if quantisation == "int8" and calibration is None:
        raise ParameterError("int8 needs samples of the training split: give them as calibration.")
    backend = importlib.import_module("keras").backend.backend()
    if backend != "tensorflow":
        raise ParameterError(
            f"LiteRT files are made on TensorFlow, and Keras runs on {backend} here: "
            "load the model once with KERAS_BACKEND=tensorflow."
        )


def _samples(model: Any, calibration: Iterable[np.ndarray | Sample]) -> Iterator[dict[str, np.ndarray]]:
    """Yield samples as batches of one, in the types of the model."""
    types = input_dtypes(model)
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in inputs_of(model).items()}
    for sample in calibration:
        named = sample if isinstance(sample, Mapping) else {next(iter(types)): sample}
        missing = [name for name in types if name not in named]
        if missing:
            raise DataError(
                f"A calibration sample lacks {', '.join(missing)}: give the model's inputs by name."
            )
        batch = {name: np.asarray(named[name], dtype)[None] for name, dtype in types.items()}
        for name, values in batch.items():
            if not fits(values.shape[1:], shapes[name]):
                raise DataError(
                    f"A calibration sample has {name} of shape {values.shape[1:]}, expected {shapes[name]}: "
                    "give samples without the batch axis."
                )
        yield batch


def fits(shape: tuple[int, ...], expected: Shape) -> bool:
    """Say whether a shape is the one expected, whose open axes are None."""
    return len(shape) == len(expected) and all(
        open_axis is None or axis == open_axis for axis, open_axis in zip(shape, expected, strict=True)
    )


def _converted(model: Any, quantisation: str, samples: list[dict[str, np.ndarray]]) -> bytes:
    import tensorflow as tf

    module = _frozen(model)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.predict.get_concrete_function()], module
    )
    if quantisation == "float32":
        return bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantisation == "float16":
        converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())
    converter.representative_dataset = lambda: iter(samples)
    return _integer(converter, converter.representative_dataset, _float_scopes(model))


def _frozen(model: Any) -> Any:
    """Return a module whose function ``predict`` is the model for one sample, weights as constants.

    Constants let the converter join layers and quantise weights, which it does not with variables.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    inputs = inputs_of(model)
    order = list(inputs)
    signature = [tf.TensorSpec((1, *inputs[name].shape[1:]), inputs[name].dtype, name) for name in order]

    def of_model(*values: Any) -> Any:
        given = dict(zip(order, values, strict=True))
        found = model(given if isinstance(model.input, dict) else list(values), training=False)
        return found if isinstance(found, dict) else {"probabilities": found}

    traced = tf.function(of_model, input_signature=signature).get_concrete_function()
    names = sorted(traced.structured_outputs)
    constant = convert_variables_to_constants_v2(traced)

    def predict(*values: Any) -> dict[str, Any]:
        return dict(zip(names, constant(*values), strict=True))

    module = tf.Module()
    module.predict = tf.function(predict, input_signature=signature)
    return module


def _float_scopes(model: Any) -> list[str]:
    """Return the names of the layers that normalise bands, nested models included."""
    from eolab.models.layers import Normalize

    names: list[str] = []
    for layer in model.layers:
        names += [layer.name] if isinstance(layer, Normalize) else []
        names += _float_scopes(layer) if hasattr(layer, "layers") else []
    return names


def _integer(converter: Any, dataset: Callable[[], Iterator[Any]], scopes: list[str]) -> bytes:
    """Return an int8 model whose operations under some scopes stay float32."""
    import tensorflow as tf

    kinds = tf.lite.experimental
    debugger = kinds.QuantizationDebugger(converter=converter, debug_dataset=dataset)
    inside = re.compile("|".join(rf"(?:^|/){re.escape(scope)}(?:_\d+)?/" for scope in scopes) or "(?!)")
    tensors = tf.lite.Interpreter(model_content=debugger.calibrated_model).get_tensor_details()
    kept = [tensor["name"] for tensor in tensors if inside.search(tensor["name"])]
    debugger.options = kinds.QuantizationDebugOptions(denylisted_nodes=kept)
    return bytes(debugger.get_nondebug_quantized_model())
