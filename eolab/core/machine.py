"""The processor of this machine."""

import platform
from pathlib import Path


def processor() -> tuple[str, frozenset[str]]:
    """Return the processor's name, and the names of its instruction sets where the system lists them."""
    facts: dict[str, str] = {}
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    return name, frozenset(facts.get("flags", "").split())
