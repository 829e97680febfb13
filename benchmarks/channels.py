"""Derived channels of patches: eolab's ``compute`` against a loop over patches with OpenCV.

Both make the same 29 channels of the same patches, each in a process of its own, so that peak memory is its
own. OpenCV's median of large windows takes 8 bits and odd windows only (11 pixels here, 10 in eolab), so one
loop uses it as it is and another takes SciPy's, which gives eolab's pixels. All other channels must be equal
(edges at 99 % of the pixels, as OpenCV smooths 8 bits with integers). The fastest repeat counts.

Usage: python benchmarks/channels.py [--patches 128] [--size 128] [--repeat 5] [--folder LANDSLIDE4SENSE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from eolab.data.layouts.landslide4sense import DIVISORS

METHODS = ("eolab", "OpenCV loop, 8-bit median", "OpenCV loop, SciPy's median")
B02, B03, B04, B08, B11, B12 = 1, 2, 3, 7, 10, 11


def write(file: Path, options: argparse.Namespace) -> None:
    """Write the patches (N, H, W, 14) that all methods read: published ones, or smooth fields with noise."""
    if options.folder:
        from eolab.data.layouts import landslide4sense

        image = landslide4sense.open_layout(options.folder)["image"][: options.patches].to_numpy()
    else:
        rng = np.random.default_rng(0)
        field = rng.standard_normal((options.patches, options.size, options.size, 14), np.float32)
        image = (1 + 2 * ndimage.gaussian_filter(field, (0, 3, 3, 0)) + 0.05 * field).clip(0)
    np.save(file, image.astype(np.float32))


def loop(image: np.ndarray, exact_median: bool) -> np.ndarray:
    """Return the channels (N, H, W, 29), patch after patch as one would write it with OpenCV."""
    import cv2

    mirror, repeat = cv2.BORDER_REFLECT, cv2.BORDER_REPLICATE
    result = np.empty((*image.shape[:3], 29), np.float32)
    for patch, made in zip(image, result, strict=True):
        rgb = patch[..., [B04, B03, B02]]
        low, high = rgb.min((0, 1)), rgb.max((0, 1))
        gray = (patch[..., B02] + patch[..., B03] + patch[..., B04]) / 3
        dark, bright = np.percentile(gray, (1, 99))
        bits = np.rint((gray - dark) * (255 / (bright - dark))).clip(0, 255).astype(np.uint8)
        made[..., :14] = patch
        made[..., 14:17] = (rgb - low) / (high - low)
        for number, other in enumerate((B04, B11, B12), start=17):
            for place, values in ((number, patch * DIVISORS / 10_000), (number + 3, patch)):
                total = values[..., B08] + values[..., other]
                difference = values[..., B08] - values[..., other]
                made[..., place] = np.divide(difference, total, out=np.zeros_like(total), where=total > 1e-6)
        made[..., 23] = gray
        made[..., 24] = cv2.GaussianBlur(gray, (11, 11), 1.85, borderType=mirror)
        made[..., 25] = ndimage.median_filter(gray, 10) if exact_median else eight_bit_median(gray, cv2)
        made[..., 26] = cv2.Sobel(gray, cv2.CV_32F, 1, 0, borderType=mirror)
        made[..., 27] = cv2.Sobel(gray, cv2.CV_32F, 0, 1, borderType=mirror)
        smooth = cv2.GaussianBlur(bits, (9, 9), 1.0, borderType=repeat)
        made[..., 28] = cv2.Canny(smooth, 100, 200, L2gradient=True) > 0
    return result


def eight_bit_median(gray: np.ndarray, cv2) -> np.ndarray:
    low, high = gray.min(), gray.max()
    bits = np.rint((gray - low) * (255 / (high - low))).astype(np.uint8)
    return low + cv2.medianBlur(bits, 11) * ((high - low) / 255)


def peak_mb() -> float:
    """Return the most memory that this process has had; getrusage would count that of its parent too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) / 2**10


def run(method: str, folder: Path, repeat: int) -> dict[str, float | str]:
    """Run one method on all patches; return seconds, what memory grew by, and where the result lies."""
    image = np.load(folder / "image.npy")
    if method == "eolab":
        from eolab.studies.landslide.channels import compute
    else:
        import functools

        compute = functools.partial(loop, exact_median="SciPy" in method)
    compute(image[:2])  # imports and caches
    before_mb = peak_mb()
    seconds, cpu_seconds = [], []
    for _ in range(repeat):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = compute(image)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
        if len(seconds) == 1:
            grown_mb = peak_mb() - before_mb
    np.save(folder / f"{METHODS.index(method)}.npy", result)
    return {
        "method": method,
        "patches/s": len(image) / min(seconds),
        "patches/cpu s": len(image) / min(cpu_seconds),
        "peak MB more": grown_mb,
        "result MB": result.nbytes / 2**20,
    }


def compare(folder: Path) -> str:
    """Return in words how the results agree; end the program where they do not."""
    ours, plain, exact = (np.load(folder / f"{number}.npy", mmap_mode="r") for number in range(3))
    without = [number for number in range(25) if number != 22]
    for other in (plain, exact):
        np.testing.assert_allclose(ours[..., without], other[..., without], atol=2e-5)
    np.testing.assert_allclose(ours[..., 22], exact[..., 22], atol=1e-6)
    median = np.abs(ours[..., 22] - plain[..., 22]).mean() / ours[..., 20].std()
    share = (ours[..., 25] == exact[..., 25]).mean()
    if share < 0.99:
        sys.exit(f"Edges agree at {share:.2%} of the pixels, expected 99 %.")
    return (
        f"24 channels are equal, the median is SciPy's; edges agree at {share:.2%} of the pixels; OpenCV's "
        f"8-bit median differs by {median:.1%} of the gray image's standard deviation on average."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patches", type=int, default=128)
    parser.add_argument("--size", type=int, default=128, help="side of a simulated patch in pixels")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="a copy of Landslide4Sense; default: simulated fields")
    parser.add_argument("--only", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(run(options.only, options.work, options.repeat)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as work:
        write(Path(work) / "image.npy", options)
        for method in METHODS:
            command = [sys.executable, __file__, *sys.argv[1:], "--work", work, "--only", method]
            rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
        agreement = compare(Path(work))
    table = pd.DataFrame(rows).set_index("method")
    table["eolab's speed, times"] = table.loc["eolab", "patches/s"] / table["patches/s"]
    table["by cpu time"] = table.loc["eolab", "patches/cpu s"] / table["patches/cpu s"]
    print(table.to_string(float_format="%.2f"))
    print(agreement)


if __name__ == "__main__":
    main()
