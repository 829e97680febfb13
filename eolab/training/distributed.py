"""One training on several devices and in several processes, on this machine or on many.

On JAX, batches are divided among all devices of all processes (``keras.distribution.DataParallel``), and a
step is that of the whole batch: losses, scores, gradients and the statistics of batch normalisation are the
same as in one process on one device, but for the order of sums. Only :func:`eolab.training.fit` works so.
Before and after it each process has the whole network to itself.

Processes are told apart by their environment, see :mod:`eolab.core.ranks`; `eolab run` sets it for notebooks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from eolab.core import ranks
from eolab.core.errors import ParameterError, RunError, missing_package
from eolab.core.machine import nvidia_gpus

PATIENCE_S = 600  # for all processes to begin; notebooks import and read before
_joined: list[ranks.Place] = []  # the place of this process, once it has joined the others


def join() -> ranks.Place:
    """Join the other processes of a launcher; once, before JAX computes anything.

    Returns:
        The place of this process, also where it is alone.

    Raises:
        ParameterError: If there are several, and Keras does not run on JAX.
        RunError: If the others do not come.
    """
    if _joined:
        return _joined[0]
    place = ranks.place()
    if place.count > 1:
        check_backend(place.count)
        import jax

        gpus = len(nvidia_gpus())
        own = [gpu for gpu in range(gpus) if gpu % place.beside == place.local]
        loopback = f"{place.host}:{place.port}" if place.host in ranks.LOOPBACK else None
        try:
            jax.distributed.initialize(
                f"{place.host}:{place.port}",
                num_processes=place.count,
                process_id=place.rank,
                local_device_ids=own if gpus >= place.beside > 1 else None,
                initialization_timeout=PATIENCE_S,
                coordinator_bind_address=loopback,
            )
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RunError(
                f"{place} did not meet the others at {place.host}:{place.port} ({reason}): see whether all "
                "run and reach that address; in a script, call set_up before anything else of JAX."
            ) from None
    _joined.append(place)
    return place


def check_backend(count: int, backend: str = "") -> None:
    """Refuse several processes where Keras does not run on JAX.

    Args:
        count: Number of processes.
        backend: Backend that Keras will have; the one that it has where empty.

    Raises:
        ParameterError: If it does not.
    """
    if find_spec("jax") is None:
        raise missing_package("jax", f"which a training in {count} processes needs", "distributed")
    if not backend:
        import keras

        backend = keras.backend.backend()
    if backend != "jax":
        raise ParameterError(
            f"A training in {count} processes needs Keras on JAX, and its backend is {backend}: set "
            "KERAS_BACKEND=jax."
        )


def first() -> bool:
    """Return whether this process is the first one or alone: it writes what is kept."""
    return not _joined or _joined[0].first


def count() -> int:
    """Return how many processes train together."""
    return _joined[0].count if _joined else 1


def devices() -> int:
    """Return among how many devices, of all processes, a batch is divided on JAX; 1 on other backends."""
    import keras

    if keras.backend.backend() != "jax":
        return 1
    import jax

    return int(jax.device_count())


def mirror(devices: Sequence[str]) -> None:
    """Let networks that are built from now on train on several devices of this machine, on TensorFlow.

    Each device takes its share of a batch (``tf.distribute.MirroredStrategy``), and losses that are means are
    those of the whole batch; losses of regions, batch normalisation and dropout go by what a device has.

    Args:
        devices: Names of the devices in TensorFlow, such as ``"GPU:0"``.
    """
    import tensorflow as tf

    if len(devices) > 1 and not tf.distribute.has_strategy():
        tf.distribute.experimental_set_strategy(tf.distribute.MirroredStrategy(list(devices)))


def share_of(counted: Any) -> Any:
    """Return what share of a batch a device has: inside a step of :func:`mirror`, else 1.

    Args:
        counted: What counts of the batch on this device, a scalar.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return 1.0
    import tensorflow as tf

    if not tf.distribute.has_strategy() or tf.distribute.in_cross_replica_context():
        return 1.0
    counted = tf.cast(counted, "float32")
    whole = tf.distribute.get_replica_context().all_reduce("sum", counted)
    return tf.math.divide_no_nan(counted, whole)


@contextmanager
def divided(variables: list[Any]) -> Iterator[None]:
    """Divide what Keras trains inside among all devices; on one device nothing changes.

    Args:
        variables: Variables of a network; all processes get the values of the first one. Afterwards they
            must be given local values by :func:`eolab.training.assign`.
    """
    if devices() == 1:
        yield
        return
    import keras

    values = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    content, start = shared(b"".join(value.tobytes() for value in values)), 0
    with keras.distribution.DataParallel(auto_shard_dataset=False).scope():
        for variable, value in zip(variables, values, strict=True):
            found = np.frombuffer(content, value.dtype, value.size, start).reshape(value.shape)
            variable.assign(placed(found))
            start += value.nbytes
        yield


def placed(value: Any) -> Any:
    """Return a value as variables take it: inside :func:`divided` on all devices, else as it is."""
    if devices() == 1:
        return value
    import keras

    distribution = keras.distribution.distribution()
    if distribution is None:
        return value
    import jax

    whole, mesh = np.asarray(value), distribution.device_mesh.backend_mesh
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.make_array_from_callback(whole.shape, place, whole.__getitem__)


def shared(content: bytes) -> bytes:
    """Return the bytes that the first process has; all processes call it, the others with any bytes."""
    if count() == 1:
        return content
    from jax.experimental.multihost_utils import broadcast_one_to_all

    size = int(broadcast_one_to_all(np.uint32(len(content))))
    buffer = np.zeros(size, np.uint8)
    if first():
        buffer[:] = np.frombuffer(content, np.uint8)
    return bytes(broadcast_one_to_all(buffer)) if size else b""
