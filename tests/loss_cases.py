"""Losses and scores on every backend: cases and what they give, as arrays.

The tests of losses hold every property against NumPy on one backend; that another one gives the same values
and gradients on the same cases is what is left to show. Each loss is compiled once, for one shape.
"""

import keras
import numpy as np

from eolab.training import losses

IGNORE, SIDE, K = 255, 8, 3
CLASSES = [
    *losses.names("classes"),
    {"focal": {"weight": 0.5, "gamma": 2}, "iou": 0.25, "center": {"weight": 2, "depth": 3}},
    {"focal": {"gamma": 0.5, "alpha": 0.8}},
    {"iou": {"form": "linear", "smooth": 3.0, "background": True}},
    {"tversky": {"alpha": 0.5, "beta": 0.2, "smooth": 2.0}},
    {"boundary": {"extra": 1.5, "radius": 1}},
]
LABELS = [
    *losses.names("labels"),
    {"asymmetric": {"positive": 1, "negative": 0.5, "smoothing": 0.1, "positive_weights": [1, 2, 3]}},
    {"binary_focal": {"gamma": 0.5, "alpha": 0.8, "class_weights": [2, 1, 0.5]}},
]
VALUES = [*losses.names("values"), {"mae": 0.5, "continuous_iou": 2}, {"huber": {"delta": 0.2}}]


def gradient_of(loss, label, p, weight=None):
    """Return loss and gradient with respect to the predictions, on the backend that runs."""
    p = np.asarray(p, "float32")
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        given = tf.constant(p)
        with tf.GradientTape() as tape:
            tape.watch(given)
            found = loss(label, given, weight)
        return float(found), tape.gradient(found, given).numpy()
    if backend == "jax":
        found, slope = compiled(f"{loss} {getattr(loss, 'ignore', None)}", loss)(p, label, weight)
        return float(found), np.asarray(slope)
    import torch

    given = torch.tensor(p, requires_grad=True)
    found = loss(label, given, weight)
    found.backward()
    return float(found), given.grad.numpy()


_compiled = {}


def compiled(key, loss):
    """Return value and gradient of a loss on JAX, compiled once for all cases, not operation by operation."""
    import jax

    if key not in _compiled:
        _compiled[key] = jax.jit(jax.value_and_grad(lambda p, label, weight: loss(label, p, weight)))
    return _compiled[key]


def classes():
    """Yield labels (2, 8, 8), probabilities (2, 8, 8, 3) and weights: soft, hard, ignored, empty, full."""
    rng = np.random.default_rng(0)
    label = np.kron(rng.integers(0, K, (2, 4, 4)), np.ones((2, 2))).astype("uint8")
    soft = rng.dirichlet(np.ones(K), label.shape)
    one, count = np.ones(label.shape), rng.integers(0, 3, label.shape)
    hidden = label.copy()
    hidden[0, :3, 2:6] = IGNORE
    broken = soft.copy()
    broken[hidden == IGNORE] = (np.nan, 7, -1)
    yield from ((label, soft, one), (label, soft, count), (hidden, soft, one), (hidden, broken, count))
    yield np.full_like(label, IGNORE), broken, one
    spot = np.zeros_like(label)
    spot[0, 3, 3] = 1
    for mask in (label, 0 * label, 0 * label + 1, spot):
        yield mask, soft, one
        for guess in (mask, (mask + 1) % K, 0 * mask, 0 * mask + 1):
            yield mask, np.eye(K)[guess], one


def labels():
    """Yield labels and probabilities (7, 3), and weights: soft, mixed, and at both ends."""
    rng = np.random.default_rng(1)
    label, soft = (rng.random((7, K)) < 0.3).astype("float32"), rng.uniform(0.01, 0.99, (7, K))
    one = np.ones(7)
    yield from ((label, soft, one), (0.7 * label + 0.3 * label[::-1], soft, rng.integers(0, 3, 7)))
    for truth in (0.0, 1.0):
        for p in (0.0, 0.5, 1.0):
            yield np.full_like(label, truth), np.full((7, K), p), one


def values():
    """Yield labels (2, 6, 6), predictions (2, 6, 6, 1), weights: some labels not known, some broken."""
    rng = np.random.default_rng(2)
    label = rng.uniform(0, 1, (2, 6, 6)).astype("float32")
    p, one = np.clip(label + 0.3 * rng.normal(size=label.shape), -0.2, 1.5)[..., None], np.ones(label.shape)
    hidden = label.copy()
    hidden[0, :2, 3:] = np.nan
    broken = np.where(np.isnan(hidden)[..., None], np.nan, p)
    yield from ((label, p, one), (hidden, p, one), (hidden, broken, rng.integers(0, 3, label.shape)))
    yield np.full_like(label, np.nan), broken, one


def variants():
    """Yield a loss of each kind with labels, predictions and weights in the other shapes and types."""
    label, p, _ = next(classes())
    flat, rows = label.ravel(), p.reshape(-1, K)
    low = keras.ops.cast(p, "bfloat16")
    yield "iou", label, p, None
    yield "iou", flat, rows, np.arange(len(flat)) % 3
    yield "iou", label, p, np.array([1, 0])
    yield {"ce": 1, "change": 0.5}, label[0], p[0], np.arange(SIDE) % 3
    yield "lovasz", np.minimum(label, 1)[..., None], p[..., 1:2], None
    yield "focal", label, keras.ops.convert_to_numpy(keras.ops.cast(low, "float32")), None
    yield "bce", *next(labels())[:2], None
    yield "mse", *next(values())[:2], None


def run():
    """Return values and gradients of all cases, and the scores of some batches, by name."""
    found = {}
    for family, kinds in ((classes, CLASSES), (labels, LABELS), (values, VALUES)):
        for kind in kinds:
            loss = losses.build(kind)
            results = [gradient_of(loss, label, p, np.float32(weight)) for label, p, weight in family()]
            found[f"{loss} value"], found[f"{loss} slope"] = map(np.array, zip(*results, strict=True))
    for number, (kind, *case) in enumerate(variants()):
        found[f"variant {number} value"], found[f"variant {number} slope"] = gradient_of(
            losses.build(kind), *case
        )
    return found | scores() | in_a_model()


def scores():
    """Return the scores of an epoch of three batches, and the loss of low precision and of many pixels."""
    found, known = {}, [losses.PooledScore(name, k) for name in ("f1", "iou") for k in (0, 1)]
    known += [losses.PooledScore("precision"), losses.PooledScore("recall"), losses.PooledAccuracy()]
    for label, p, weight in list(classes())[1:4]:
        for score in known:
            score.update_state(label, p, weight)
    for number, score in enumerate(known):
        found[f"{score.name} {number}"] = score.result()
    for name in ("mae", "mse", "r2"):
        score = losses.ValueScore(name)
        for label, p, weight in list(values())[:3]:
            score.update_state(label, p, weight)
        found[name] = score.result()
    score = losses.MeanAveragePrecision(K)
    for label, p, weight in list(labels())[:2]:
        score.update_state(label, p, weight)
    found["average precision"] = score.result()
    label, p, weight = next(values())
    for kind in VALUES:  # where all is right, each backend has a slope of its own
        found[f"{kind} right"] = losses.build(kind)(label, label[..., None], weight)
    label, p, _ = next(classes())
    for dtype in ("float16", "bfloat16"):
        value = losses.build("iou")(label, keras.ops.cast(p, dtype))
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        found[dtype] = value
    rng = np.random.default_rng(3)
    label = (rng.random(1_000_000) < 0.02).astype("uint8")
    p = np.clip(0.5 * label + 0.3 * rng.random(len(label)), 0, 1).astype("float32")
    found["a million pixels"] = losses.build("lovasz")(label, np.stack([1 - p, p], -1))
    return {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}


def in_a_model():
    """Return loss and score of a model before and after two steps of training, saved and loaded between."""
    import tempfile

    label, _, _ = next(classes())
    image = keras.Input((SIDE, SIDE, 3))
    output = keras.layers.Conv2D(K, 1, activation="softmax", kernel_initializer="ones", name="mask")(image)
    model = keras.Model(image, {"mask": output})
    model.compile("sgd", {"mask": losses.build(CLASSES[8])}, weighted_metrics=[losses.PooledScore("iou")])
    x = np.random.default_rng(1).normal(size=(2, SIDE, SIDE, 3)).astype("float32")
    before = model.evaluate(x, {"mask": label}, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        again = keras.models.load_model(f"{folder}/model.keras")
    for _ in range(2):
        again.train_on_batch(x, {"mask": label})
    after = again.evaluate(x, {"mask": label}, verbose=0)
    return {"before": np.array(before), "after": np.array(after), "weights": again.get_weights()[0]}
