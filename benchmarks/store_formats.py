"""How fast random batches come out of a sample store, beside the formats that one could have chosen instead.

Each format holds the same random numbers in a temporary folder on the same disk. A batch is `--batch` samples
at random positions (TFRecord cannot do that and is read in sequence); all formats get the same positions, all
files are in the page cache, and every batch ends as one NumPy array, of which the first is checked. Rounds
alternate between the formats, and the best of each counts: other work on the machine only slows one down.

    pip install -e '.[benchmark]' && python benchmarks/store_formats.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from eolab.data.store import ArraySpec, write_store

CASES = {  # name: shape of a sample, type
    "patches 128x128x14 float32": ((128, 128, 14), "float32"),
    "patches 120x120x12 uint16": ((120, 120, 12), "uint16"),
    "pixel series 20x12 float32": ((20, 12), "float32"),
}
Reader = Callable[[np.ndarray], np.ndarray]


def ours(folder: Path, data: np.ndarray) -> Reader:
    dims = ("y", "x", "band")[-data.ndim + 1 :]
    step = max(1, len(data) // 20)
    store = write_store(
        folder / "store",
        pd.DataFrame({"row": range(len(data))}),
        {"image": ArraySpec(dims, data.shape[1:], data.dtype)},
        [slice(n, min(n + step, len(data))) for n in range(0, len(data), step)],
        lambda rows: {"image": data[rows["row"].iloc[0] : rows["row"].iloc[-1] + 1]},
        {},
        progress=False,
    )
    return lambda rows: store.gather(rows)["image"]


def chunks_of(data: np.ndarray) -> tuple[int, int]:
    """Return samples a chunk and a shard: a chunk is a sample, or about 64 KiB of small ones."""
    chunk = max(1, (64 << 10) // data[0].nbytes)
    return chunk, chunk * max(1, min(len(data) // chunk, (64 << 20) // (chunk * data[0].nbytes)))


def zarr_sharded(folder: Path, data: np.ndarray) -> Path:
    import zarr

    path = folder / "zarr"
    if not path.exists():
        chunk, shard = chunks_of(data)
        array = zarr.create_array(
            path,
            shape=data.shape,
            dtype=data.dtype,
            chunks=(chunk, *data.shape[1:]),
            shards=(shard, *data.shape[1:]),
            compressors=None,
        )
        array[:] = data
    return path


def tensorstore_zarr(folder: Path, data: np.ndarray) -> Reader:
    import tensorstore

    place = {"driver": "file", "path": str(zarr_sharded(folder, data))}
    array = tensorstore.open({"driver": "zarr3", "kvstore": place}, read=True).result()
    return lambda rows: array[rows].read().result()


def zarr_python(folder: Path, data: np.ndarray) -> Reader:
    import zarr

    array = zarr.open_array(zarr_sharded(folder, data), mode="r")
    return lambda rows: array.oindex[rows]


def hdf5(folder: Path, data: np.ndarray, chunked: bool, by: str) -> Reader:
    """Read row by row, or by the list of rows, which h5py wants sorted and without repeats."""
    import h5py

    path = folder / f"chunked-{chunked}.h5"
    if not path.exists():
        with h5py.File(path, "w") as file:
            chunks = (chunks_of(data)[0], *data.shape[1:]) if chunked else None
            file.create_dataset("image", data=data, chunks=chunks)
    array = h5py.File(path, "r")["image"]

    def by_row(rows: np.ndarray) -> np.ndarray:
        batch = np.empty((len(rows), *data.shape[1:]), data.dtype)
        for n, row in enumerate(rows):
            array.read_direct(batch, np.s_[int(row)], np.s_[n])
        return batch

    def by_list(rows: np.ndarray) -> np.ndarray:
        unique, inverse = np.unique(rows, return_inverse=True)
        return array[unique].take(inverse, axis=0)

    return by_list if by == "list" else by_row


def tfrecord(folder: Path, data: np.ndarray) -> Reader:
    import tensorflow as tf

    path = str(folder / "data.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for sample in data:
            writer.write(sample.tobytes())
    shape = (-1, *data.shape[1:])

    def batches(size: int) -> Iterator[np.ndarray]:
        def decode(records: tf.Tensor) -> tf.Tensor:
            return tf.reshape(tf.io.decode_raw(records, data.dtype.name), shape)

        dataset = tf.data.TFRecordDataset(path).repeat().batch(size).map(decode).prefetch(2)
        yield from dataset.as_numpy_iterator()

    source: list[Iterator[np.ndarray]] = []

    def read(rows: np.ndarray) -> np.ndarray:
        if not source:
            source.append(batches(len(rows)))
        return next(source[0])

    return read


FORMATS: dict[str, Callable[[Path, np.ndarray], Reader]] = {
    "eolab store (.npy memory map)": ours,
    "Zarr v3 sharded, tensorstore": tensorstore_zarr,
    "Zarr v3 sharded, zarr-python": zarr_python,
    "HDF5 contiguous, row by row": partial(hdf5, chunked=False, by="row"),
    "HDF5 chunked, row by row": partial(hdf5, chunked=True, by="row"),
    "HDF5 chunked, index list": partial(hdf5, chunked=True, by="list"),
    "TFRecord, in sequence": tfrecord,
}


def rate(read: Reader, rows: list[np.ndarray], data: np.ndarray, seconds: float, check: bool) -> float:
    """Return samples a second over at most `seconds`, after one batch that is not counted."""
    first = read(rows[0])
    if check:
        np.testing.assert_array_equal(first, data[rows[0]])
    start, done = time.perf_counter(), 0
    for batch in rows[1:]:
        done += len(read(batch))
        if time.perf_counter() - start > seconds:
            break
    return done / (time.perf_counter() - start)


def measure(shape: tuple[int, ...], dtype: str, options: argparse.Namespace) -> pd.Series:
    """Return samples a second of each format for one kind of sample."""
    random = np.random.default_rng(0)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    samples = max(4 * options.batch, int(options.megabytes * 1e6) // size)
    data = random.integers(0, 10_000, (samples, *shape), dtype=np.uint16).astype(dtype)
    rows = [random.integers(0, samples, options.batch) for _ in range(20_000)]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        readers = {label: make(Path(name), data) for label, make in FORMATS.items()}
        best = dict.fromkeys(FORMATS, 0.0)
        for _ in range(options.rounds):
            for label, read in readers.items():
                found = rate(read, rows, data, options.seconds, check="sequence" not in label)
                best[label] = max(best[label], found)
    return pd.Series(best)


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=200, help="size of each array (default 200)")
    parser.add_argument("--batch", type=int, default=32, help="samples a batch (default 32)")
    parser.add_argument("--seconds", type=float, default=1, help="time a format and round (default 1)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, of which the best counts (default 2)")
    parser.add_argument("--folder", help="where to put the temporary folder (default: the system's)")
    options = parser.parse_args()
    for name, (shape, dtype) in CASES.items():
        found = measure(shape, dtype, options)
        table = pd.DataFrame({"samples/s": found.round(), "times ours": found / found.iloc[0]})
        print(f"\n{name}, random batches of {options.batch}, {options.megabytes:g} MB")
        print(table.to_string(formatters={"samples/s": "{:,.0f}".format, "times ours": "{:.3f}".format}))


if __name__ == "__main__":
    main()
