"""Class probabilities from a saved model, with the engine that is fastest here.

In a notebook::

    predictor = prediction.load(run_folder, engine="auto")   # a Keras model or a baseline, whichever is there
    predictor.engine, predictor.timings, predictor.skipped
    probabilities = predictor({"image": image, "valid": valid, "day": day})   # (N, K)
    masks = prediction.load(segmentation_run)({"image": image})               # (N, H, W, K)

Engines are ``keras``; ``onnx`` (ONNX Runtime), ``openvino`` and ``litert`` on exports of the Keras model,
which start without TensorFlow once the export is there; and ``sklearn`` for baselines. For small devices::

    prediction.export_litert(run_folder, "model_int8.tflite", "int8", calibration=training_images)
    prediction.portable_table(run_folder, patches, training_images, folder)   # size, agreement, time
"""

from eolab.prediction.engines import TOLERANCE
from eolab.prediction.exports import QUANTISATIONS, export_litert
from eolab.prediction.loading import Predictor, load
from eolab.prediction.portable import portable_masks, portable_table
