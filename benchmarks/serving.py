"""A network as a web service: requests a second beside the bare network, latency, memory, hostile inputs.

Starts `eolab serve RUN`, and sends with ApacheBench (`ab`, in Debian's apache2-utils) the same GeoTIFF again
and again, from one connection and from several. The bare network predicts the same image, prepared, in this
process: the two take turns, so that a busy machine slows both. Then come as many requests as an hour has at a
stated rate, one after the other, while the memory of the server is read; and what strangers might send.

Usage: python benchmarks/serving.py RUN [--engine onnx] [--connections 1 8] [--rounds 3] [--requests 300]
       [--rate 2]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import h5py
import httpx
import numpy as np
import psutil
from rasterio.io import MemoryFile

from eolab.prediction.serving import Model
from eolab.studies import served

TIFF = "image/tiff"
HOUR = 3600


def image_of(model: Model, size: int) -> np.ndarray:
    """Return an image (size, size, band) as those of training are, by mean and spread of each band."""
    ranges = next(iter(model.ranges.values()))
    rng, places = np.random.default_rng(0), [ranges.names.index(band) for band in model.form.bands]
    low, high, mean, std = (
        np.array(values)[places] for values in (ranges.low, ranges.high, ranges.mean, ranges.std)
    )
    return np.clip(rng.normal(mean, std, (size, size, len(places))), low, high).astype(np.float32)


def tiff(image: np.ndarray, names: tuple[str, ...]) -> bytes:
    """Return a GeoTIFF of an image (H, W, band)."""
    profile = {"driver": "GTiff", "height": image.shape[0], "width": image.shape[1], "count": len(names)}
    with MemoryFile() as memory:
        with memory.open(**profile, dtype="float32", compress="deflate") as file:
            file.write(np.moveaxis(image, -1, 0))
            file.descriptions = names
        return bytes(memory.read())


@contextlib.contextmanager
def server(run: Path, engine: str) -> Iterator[tuple[psutil.Process, str]]:
    """Start the server; yield its process and address."""
    command = [sys.executable, "-m", "eolab.cli", "serve", str(run), "--engine", engine, "--port", "0"]
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, stdout=log) as process:
        try:
            address = None
            while address is None:
                time.sleep(0.2)
                log.seek(0)
                address = re.search(r"http://\S+:\d+", text := log.read())
                if process.poll() is not None:
                    sys.exit(text)
            yield psutil.Process(process.pid), address[0]
        finally:
            process.terminate()


def bench(url: str, file: Path, requests: int, connections: int) -> dict[str, float]:
    """Send requests with ApacheBench; return requests a second, and milliseconds at p50 and p99."""
    command = ["ab", "-q", "-k", "-n", str(requests), "-c", str(connections), "-p", str(file)]
    done = subprocess.run(
        [*command, "-T", TIFF, "-H", f"Accept: {TIFF}", url], capture_output=True, text=True
    )
    if done.returncode or "Non-2xx" in done.stdout or "Failed requests:        0" not in done.stdout:
        sys.exit(done.stdout + done.stderr)
    patterns = {"rate": r"Requests per second:\s+([\d.]+)", "p50": r"50%\s+(\d+)", "p99": r"99%\s+(\d+)"}
    return {name: float(re.search(pattern, done.stdout)[1]) for name, pattern in patterns.items()}


def bare(predict, inputs: dict[str, np.ndarray], seconds: float = 3.0) -> float:
    """Return images a second of the network alone, one at a time."""
    count, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds:
        predict(inputs)
        count += 1
    return count / taken


# === What strangers might send ===


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file some of whose bytes are others, or whose end is missing."""
    values = np.frombuffer(content, np.uint8).copy()
    places = rng.integers(4, min(len(values), 2000), rng.integers(1, 12))
    values[places] = rng.integers(0, 256, len(places))
    return values.tobytes()[: None if rng.random() < 0.5 else rng.integers(1, len(content))]


def hostile(image: np.ndarray, content: bytes) -> dict[str, list[bytes]]:
    """Return files by what is wrong with them."""
    rng = np.random.default_rng(1)

    def npy(values: np.ndarray, **options: bool) -> bytes:
        file = io.BytesIO()
        np.save(file, values, **options)
        return file.getvalue()

    def hdf5(**options) -> bytes:
        file = io.BytesIO()
        with h5py.File(file, "w") as made:
            made.create_dataset("image", **options)
        return file.getvalue()

    with MemoryFile() as memory:
        options = {"driver": "GTiff", "height": 65_000, "width": 65_000, "count": 14, "dtype": "float32"}
        memory.open(**options, SPARSE_OK=True, tiled=True, blockxsize=4096, blockysize=4096).close()
        bomb = bytes(memory.read())
    small = hdf5(data=image, compression="gzip")
    return {
        "damaged GeoTIFF": [damaged(content, rng) for _ in range(1000)],
        "damaged HDF5": [damaged(small, rng) for _ in range(1000)],
        "damaged npy": [damaged(npy(image), rng) for _ in range(300)],
        "GeoTIFF that declares 237 GB": [bomb] * 50,
        "HDF5 that declares 454 GB": [
            hdf5(shape=(90_000, 90_000, 14), dtype="f4", compression="gzip")
        ] * 50,
        "larger than the limit": [bytes(65_000_000)] * 20,
        "all NaN": [npy(np.full_like(image, np.nan))] * 50,
        "digital numbers": [npy(image * 10_000)] * 50,
        "a band less": [npy(image[..., 1:])] * 50,
        "complex numbers": [npy(image.astype("complex64"))] * 50,
        "pickled objects": [npy(np.array([{}, image], object), allow_pickle=True)] * 50,
        "text": [b"{}" * 500] * 50,
    }  # fmt: skip


def connections(address: tuple[str, int], part: bytes, count: int) -> list[socket.socket]:
    """Open connections and send the beginning of a request on each."""
    opened = []
    for _ in range(count):
        opened.append(socket.create_connection(address, timeout=30))
        opened[-1].sendall(part)
    return opened


def besieged(url: str, image: np.ndarray, content: bytes) -> None:
    """Send hostile files and connections, and print how they were answered."""
    with httpx.Client(base_url=url, timeout=60) as client:
        expected = client.post("/predict", content=content).json()
        for name, files in hostile(image, content).items():
            statuses = Counter(client.post("/predict", content=file).status_code for file in files)
            told = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
            print(f"{name:34s} {told}")
        host, port = url.removeprefix("http://").split(":")
        headers = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n"
        begun = headers + b"\r\nII*"
        ways = {"never end their headers": headers, "close amid their body": begun, "stop amid it": begun}
        for name, part in ways.items():
            opened = connections((host, int(port)), part, 200)
            if name.startswith("close"):
                for one in opened:
                    one.close()
            time.sleep(1)  # all have arrived
            started, found = time.perf_counter(), client.post("/predict", content=content)
            taken = 1e3 * (time.perf_counter() - started)
            print(f"200 connections that {name}: then {found.status_code} in {taken:.0f} ms")
            if not name.startswith("close"):
                for one in opened:
                    while one.recv(1000):
                        pass
                print(f"    all closed by the server after {time.perf_counter() - started:.0f} s")
        time.sleep(1)
        assert client.get("/health").json()["inside"] == 0
        assert client.post("/predict", content=content).json() == expected
    print("Afterwards no request is left inside, and the answer is the same as before.")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--engine", default="onnx")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=300, help="of a round")
    parser.add_argument("--rate", type=float, default=2.0, help="requests a second of the hour that is sent")
    options = parser.parse_args()
    model, joined = served.load(options.run, options.engine, 16)
    height, width, _ = (int(side or 1) for side in model.shape)
    image = image_of(model, max(height, width))[:height, :width]
    content = tiff(image, model.form.bands)
    inputs = dict(model.form.prepare({"image": image[None]}))
    print(f"{model.name}, {model.facts['network']}, {len(content) / 1e6:.2f} MB a request, {options.engine}")
    with tempfile.TemporaryDirectory() as folder, server(options.run, options.engine) as (process, url):
        file = Path(folder) / "image.tif"
        file.write_bytes(content)
        bench(f"{url}/predict", file, 20, 1)
        for count in options.connections:
            rounds = [
                (bare(joined.compute, inputs), bench(f"{url}/predict", file, options.requests, count))
                for _ in range(options.rounds)
            ]
            alone = statistics.median(one for one, _ in rounds)
            ratio = statistics.median(found["rate"] / one for one, found in rounds)
            rate, middle, late = (
                statistics.median(found[key] for _, found in rounds) for key in rounds[0][1]
            )
            print(
                f"{count} connections: {rate:.1f} requests/s, network {alone:.1f}/s, ratio {ratio:.2f}, "
                f"p50 {middle:.0f} ms, p99 {late:.0f} ms"
            )
        total = int(options.rate * HOUR)
        print(f"{total} requests, an hour's at {options.rate:g} a second; memory in MB after each tenth:")
        for _ in range(10):
            bench(f"{url}/predict", file, total // 10, 8)
            print(f"  {process.memory_info().rss / 1e6:.0f}", end="", flush=True)
        print()
        besieged(url, image, content)
        print(f"Memory at the end: {process.memory_info().rss / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
