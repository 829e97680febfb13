"""A small store that several tests write: four parts, pixel series with clouds, three splits."""

from pathlib import Path

import numpy as np
import pandas as pd

from eolab.data.store import ArraySpec, Store, write_store

BANDS, TIMES, SAMPLES, PARTS = 3, 5, 40, 4
ARRAYS = {
    "image": ArraySpec(("time", "band"), (TIMES, BANDS), "float32", {"units": "reflectance"}),
    "valid": ArraySpec(("time",), (TIMES,), "bool"),
    "label": ArraySpec((), (), "uint8"),
}
FINGERPRINT = {"inputs": {"scene": "abc"}, "recipe": {"period": "MS", "bands": ["B02", "B03", "B04"]}}
METADATA = {
    "coords": {"time": pd.date_range("2020-01-01", periods=TIMES, freq="MS"), "band": ["B02", "B03", "B04"]},
    "simulated": True,
    "class_scheme": {"names": ["a", "b"]},
}


def table() -> pd.DataFrame:
    number = np.arange(SAMPLES)
    return pd.DataFrame(
        {
            "id": [f"s{n:02d}" for n in number],
            "part": [f"scene{n % PARTS}" for n in number],
            "number": number,
            "label": number % 2,
            "split": np.array(["train", "train", "validation", "test"])[number % 7 % 4],
        }
    )


def sample(number: int) -> dict[str, np.ndarray]:
    """Return the arrays of one sample, a pure function of its number."""
    random = np.random.default_rng(number)
    valid = random.random(TIMES) < 0.7
    image = random.normal(number, 1, (TIMES, BANDS)).astype(np.float32)
    image[~valid] = np.nan
    return {"image": image, "valid": valid, "label": np.uint8(number % 2)}


def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    samples = [sample(number) for number in rows["number"]]
    return {name: np.stack([s[name] for s in samples]) for name in ARRAYS}


def write(folder: Path, **changes) -> Store:
    given = {
        "path": folder,
        "table": table(),
        "arrays": ARRAYS,
        "parts": "part",
        "produce": produce,
        "fingerprint": FINGERPRINT,
        "metadata": METADATA,
        "progress": False,
    }
    return write_store(**(given | changes))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}
