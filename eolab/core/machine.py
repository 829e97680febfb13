"""The processor and the NVIDIA GPUs of this machine."""

import platform
import shutil
import subprocess
from pathlib import Path

INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")  # the best first


def processor() -> tuple[str, frozenset[str]]:
    """Return the processor's name, and the names of its instruction sets where the system lists them."""
    facts: dict[str, str] = {}
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    return name, frozenset(facts.get("flags", "").split())


def instructions() -> str:
    """Return the best instructions of this processor that matter to speed, such as "avx512_bf16"."""
    flags = processor()[1]
    return next((name for name in INSTRUCTIONS if name in flags), platform.machine())


def nvidia_gpus(folder: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Return the names of the NVIDIA GPUs that the driver knows, whether or not a library can use them.

    Where the driver lists none in files (Windows, WSL), ``nvidia-smi`` is asked.
    """
    found = [line for file in sorted(folder.glob("*/information")) for line in file.read_text().splitlines()]
    if not found and (command := shutil.which("nvidia-smi")):
        asked = [command, "--query-gpu=name", "--format=csv,noheader"]
        try:
            done = subprocess.run(asked, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return []
        found = [f"Model: {line}" for line in done.stdout.splitlines() if line and not done.returncode]
    return [line.partition(":")[2].strip() for line in found if line.startswith("Model:")]
