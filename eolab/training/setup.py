"""Seed, precision and device of a training, set once and shown."""

import ctypes
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal, get_args

from eolab.core.errors import ParameterError, check_known, warn
from eolab.core.machine import nvidia_gpus, processor
from eolab.training import distributed

Precision = Literal["float32", "bfloat16", "float16"]
BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16"}  # of processors that compute in bfloat16
KEPT = {-2: 2**28, -3: 2**25}  # M_TOP_PAD and M_MMAP_THRESHOLD of glibc's mallopt, in bytes


@dataclass(frozen=True)
class Setup:
    """What a training runs on; printed, it is three lines for the notebook, and one of settings left out.

    Attributes:
        keras: Version of Keras.
        backend: Backend with its version.
        device: Processor or accelerator.
        precision: Precision that products are computed in, see :func:`computed`; weights are float32 always.
        policy: How the precision is set: by Keras's policy, or by TensorFlow's oneDNN graph option.
        seed: Seed of weights and dropout.
        unused: Settings of Keras in this user's files or environment that networks are not made for, by name;
            they are left out.
    """

    keras: str
    backend: str
    device: str
    precision: str
    policy: str
    seed: int
    unused: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"Keras {self.keras} on {self.backend}",
            f"Device: {self.device}, precision: {self.precision} ({self.policy})",
            f"Seed: {self.seed}",
        ]
        if self.unused:
            named = ", ".join(f"{name} {value}" for name, value in self.unused.items())
            lines.append(f"Not used, of keras.json or KERAS_ variables: {named}")
        return "\n".join(lines)

    __repr__ = __str__


def set_up(seed: int, precision: Precision = "float32") -> Setup:
    """Set seed, precision and Keras's own settings; call it before a model is built.

    The seed is that of Python, NumPy and the backend. Settings of ``~/.keras/keras.json`` and of the
    variables ``KERAS_…`` but the backend are replaced by those that networks are made for.

    bfloat16 on TensorFlow without a GPU is done by oneDNN's graph option, which was measured faster than
    Keras's ``mixed_bfloat16`` on processors with AMX; everywhere else it is ``mixed_bfloat16``. On
    processors without AMX neither makes small recurrent models faster: measure before you choose it.

    Without a GPU and bfloat16, TensorFlow does not rewrite its graphs. On one core and small images the
    first step took 3 to 36 % less time so. Later steps took as long for U-Net, ConvLSTM and LTAE, less for
    LSTM, and about 5 % longer for SegFormer and ResNet-50, which is more than was saved after some 2,500
    steps; this was measured once, on a busy machine.

    Several GPUs, or several processes, train together from now on, see :mod:`eolab.training.distributed`. A
    warning says where the machine has an NVIDIA GPU that the backend does not use.

    Args:
        seed: Seed of everything random but the order of the batches, which have a seed of their own.
        precision: ``"float32"``, ``"bfloat16"``, or on a GPU ``"float16"``.

    Raises:
        ParameterError: If the precision is unknown, or the device has none of it.
    """
    check_known(precision, get_args(Precision), f"Precision cannot be {precision!r}")
    distributed.join()
    import keras

    from eolab.models.layers import settle_keras

    gpu = accelerator()
    device = _together(gpu or _processor())
    if not gpu and (idle := _idle_gpu()):
        warn(idle)
    if precision == "float16" and not gpu:
        raise ParameterError(
            "Precision float16 needs a GPU and this machine has none: use 'bfloat16' or 'float32'."
        )
    unused = settle_keras()
    keras.utils.set_random_seed(seed)
    backend = keras.backend.backend()
    graph_option = backend == "tensorflow" and not gpu
    if graph_option:
        import tensorflow as tf

        low = precision == "bfloat16"
        options = {"auto_mixed_precision_onednn_bfloat16": low, "disable_meta_optimizer": not low}
        tf.config.optimizer.set_experimental_options(options)
    policy = "float32" if graph_option or precision == "float32" else f"mixed_{precision}"
    keras.config.set_dtype_policy(policy)
    how = "oneDNN graph option" if graph_option and precision == "bfloat16" else f"policy {policy}"
    named = f"{backend} {version(backend)}"
    return Setup(keras.__version__, named, device, computed(), how, seed, unused)


def _together(device: str) -> str:
    """Return the device, and how many of them train together; on TensorFlow from now on."""
    import keras

    number, processes = distributed.devices(), distributed.count()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        number = max(1, len(tf.config.list_physical_devices("GPU")))
        distributed.mirror([f"GPU:{k}" for k in range(number)])
    if number == 1:
        return device
    return f"{number} × {device}" + (f" in {processes} processes" if processes > 1 else "")


def computed() -> str:
    """Return the precision that products of networks are computed in now, whatever was asked for.

    That of oneDNN's graph option is measured: processors without bfloat16 units stay at float32, and so do
    the loops of recurrent layers.
    """
    import keras

    policy = keras.config.dtype_policy()
    if policy.name != "float32" or keras.backend.backend() != "tensorflow":
        return str(policy.compute_dtype)
    import tensorflow as tf

    if not tf.config.optimizer.get_experimental_options().get("auto_mixed_precision_onednn_bfloat16"):
        return "float32"
    outside, inside = _rounds()
    if not outside:
        return "float32, as this processor has no bfloat16 units"
    return "bfloat16" if inside else "bfloat16, float32 in recurrent layers"


def _rounds() -> tuple[bool, bool]:
    """Return whether TensorFlow's graphs round products to bfloat16, outside and inside loops."""
    import tensorflow as tf

    given = tf.fill((64, 64), 1 + 2**-12)  # 1 in bfloat16

    @tf.function
    def products(x: Any) -> tuple[Any, Any]:
        once = tf.matmul(x, x)
        return once, tf.while_loop(lambda n, _: n < 1, lambda n, y: (n + 1, tf.matmul(x, y)), (0, x))[1]

    outside, inside = (float(one[0, 0]) == 64 for one in products(given))
    return outside, inside


def accelerator() -> str:
    """Return the name of the backend's first GPU or TPU, empty if there is none."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details(found[0]) if found else {"device_name": ""}
        return str(details.get("device_name", "GPU"))
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return "" if device.platform == "cpu" else str(device.device_kind)
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""


def _idle_gpu() -> str:
    """Return the sentence on an NVIDIA GPU that the backend does not see, empty if there is none."""
    import keras

    if "CUDA_VISIBLE_DEVICES" in os.environ or not (names := nvidia_gpus()):
        return ""
    backend = keras.backend.backend()
    wheels = {"tensorflow": "'eolab[gpu]'", "jax": "'jax[cuda12]'"}.get(backend, "a PyTorch built for CUDA")
    return (
        f"This machine has an {names[0]} that {backend} does not see, so training runs on the processor: "
        f"install {wheels} with pip, or set CUDA_VISIBLE_DEVICES=-1 if that is what you want."
    )


def jit_compile(choice: bool | Literal["auto"]) -> bool | Literal["auto"]:
    """Return whether to compile by XLA: ``"auto"`` does on JAX and on TensorFlow with a GPU.

    On TensorFlow without one, XLA was measured to train a U-Net at half the speed and an LSTM at a fifth.
    PyTorch's compiler takes longer than the small networks that it makes faster.
    """
    import keras

    backend = keras.backend.backend()
    if choice == "auto" and (backend == "torch" or (backend == "tensorflow" and not accelerator())):
        return False
    return choice


def keep_memory() -> None:
    """Let the C library keep memory that arrays have left, for the next ones.

    TensorFlow tells glibc to give every piece back to the kernel: each step of a small network asked for its
    memory anew, a third of the time of its training. Other C libraries go on as they are.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # no such function
            mallopt = ctypes.CDLL(None).mallopt
            for option, size in KEPT.items():
                mallopt(option, size)


def _processor() -> str:
    """Return the processor's name, and whether it computes in bfloat16."""
    name, flags = processor()
    units = sorted(BFLOAT16_FLAGS & flags)
    return f"{name} ({', '.join(units) if units else 'no bfloat16 units'})"
