"""Class probabilities from a saved model, with the engine that is fastest here.

In a notebook::

    predictor = prediction.load(run_folder, engine="auto")   # a Keras model or a baseline, whichever is there
    predictor.engine, predictor.timings, predictor.skipped
    probabilities = predictor({"image": image, "valid": valid, "day": day})   # (N, K)

Engines are ``keras``; ``onnx`` (ONNX Runtime) and ``openvino`` on exports of the Keras model, which start
without TensorFlow once the export is there; and ``sklearn`` for baselines.
"""

from eolab.prediction.engines import TOLERANCE
from eolab.prediction.predictor import Predictor, load

__all__ = ["TOLERANCE", "Predictor", "load"]
