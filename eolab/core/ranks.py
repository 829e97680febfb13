"""The place of this process among several that train one network together, as a launcher gives it.

A launcher sets variables in the environment of each process; those of its place are, first found first:

====================== ========================= ============================ ==============================
by hand, Azure ML      Slurm                     Open MPI                     other MPI
====================== ========================= ============================ ==============================
``RANK``               ``SLURM_PROCID``          ``OMPI_COMM_WORLD_RANK``       ``PMI_RANK``
``WORLD_SIZE``         ``SLURM_STEP_NUM_TASKS``  ``OMPI_COMM_WORLD_SIZE``       ``PMI_SIZE``
``LOCAL_RANK``         ``SLURM_LOCALID``         ``OMPI_COMM_WORLD_LOCAL_RANK`` ``MPI_LOCALRANKID``
``LOCAL_WORLD_SIZE``   (tasks of each machine)   ``OMPI_COMM_WORLD_LOCAL_SIZE`` ``MPI_LOCALNRANKS``
====================== ========================= ============================ ==============================

``MASTER_ADDR`` and ``MASTER_PORT`` say where the first process listens.
"""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from eolab.core.errors import ParameterError

NAMES = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
    (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
)
HOST, PORT = "MASTER_ADDR", "MASTER_PORT"
USUAL_PORT = 29500
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Place:
    """The place of a process among those that train together.

    Attributes:
        rank: Number of this process, from 0; the first one writes what is kept.
        count: Number of processes.
        host: Machine of the first one.
        port: Where it listens.
        local: Number of this process on its machine, from 0.
        beside: Number of processes on its machine.
    """

    rank: int = 0
    count: int = 1
    host: str = LOOPBACK[0]
    port: int = USUAL_PORT
    local: int = 0
    beside: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the first process, which writes."""
        return self.rank == 0

    def __str__(self) -> str:
        return f"process {self.rank} of {self.count}"

    def variables(self) -> dict[str, str]:
        """Return the environment that says this place."""
        numbers = (self.rank, self.count, self.local, self.beside)
        found = {name: str(number) for name, number in zip(NAMES[0], numbers, strict=True)}
        return found | {HOST: self.host, PORT: str(self.port)}


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """Return the place of this process; that of a single one where no launcher gives another.

    Raises:
        ParameterError: If there are several and the variables do not say which one this is, or where the
            first one listens.
    """
    for names in NAMES:
        if names[0] in environment and names[1] in environment:
            rank, count, local, beside = (_number(name, environment) for name in names)
            break
    else:
        return Place()
    if count <= 1:
        return Place()
    if not 0 <= rank < count:
        raise ParameterError(f"{names[0]} is {rank}: expected 0 to {count - 1}, as {names[1]} is {count}.")
    if not environment.get(HOST):
        raise ParameterError(
            f"{names[1]} says that {count} processes train together, and {HOST} is not set: export it as "
            "the name of the machine of the first one, see docs/distributed.md."
        )
    port = _number(PORT, environment) or USUAL_PORT
    if port > 65535:
        raise ParameterError(f"{PORT} is {port}: expected the number of a port, 1 to 65535.")
    return Place(rank, count, environment[HOST], port, local, max(1, beside))


def free_port() -> int:
    """Return a port of this machine on which nothing listens now."""
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def _number(name: str, environment: Mapping[str, str]) -> int:
    """Return a number of the environment, 0 where it is not set; of ``4(x2)`` the 4."""
    text = environment.get(name, "")
    found = re.match(r"\d+", text)
    if text and not found:
        raise ParameterError(f"{name} is {text!r}: expected a number.")
    return int(found[0]) if found else 0
