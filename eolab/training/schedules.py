"""Learning rates: schedules by name.

Step and cosine are Keras's own ExponentialDecay and CosineDecay; one-cycle, which Keras lacks, is here.
"""

import copy
import math
from collections.abc import Callable
from typing import Any, Self

import keras
from keras import ops

from eolab.core.errors import ParameterError, check_all, check_known
from eolab.models.layers import Saved

COUNTS = ("steps", "decay_steps", "warmup_steps")  # of schedules, their own and Keras's


class OneCycle(Saved, keras.optimizers.schedules.LearningRateSchedule):
    """One rise to the highest learning rate and one long fall to almost nothing.

    Smith, *A disciplined approach to neural network hyper-parameters*, 2018,
    https://arxiv.org/abs/1803.09820; in the form that became common: two half cosines.

    Args:
        maximum: Highest learning rate.
        steps: Batches of the whole training.
        rise: Share of the steps in which the rate rises.
        start_divisor: The first rate is ``maximum / start_divisor``.
        end_divisor: The last rate is the first one divided by this.

    Raises:
        ParameterError: If there are no steps or `rise` is not between 0 and 1.
    """

    def __init__(
        self,
        maximum: float,
        steps: int,
        rise: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
        name: str = "OneCycle",
    ) -> None:
        if steps < 2 or not 0 < rise < 1:
            raise ParameterError(
                f"One cycle needs 2 steps or more and a rise between 0 and 1: got {steps} steps, rise {rise}."
            )
        self.maximum, self.steps, self.rise = maximum, steps, rise
        self.start_divisor, self.end_divisor, self.name = start_divisor, end_divisor, name

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0."""
        steps = ops.cast(self.steps, "float32")
        top = ops.maximum(self.rise * steps - 1, 1e-6)  # step of the highest rate
        last = steps - 1
        start = self.maximum / self.start_divisor
        step = ops.minimum(ops.cast(step, "float32"), last)
        up = _half_cosine(start, self.maximum, step / top)
        down = _half_cosine(
            self.maximum, start / self.end_divisor, (step - top) / ops.maximum(last - top, 1e-6)
        )
        return ops.where(step <= top, up, down)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        names = ("maximum", "steps", "rise", "start_divisor", "end_divisor", "name")
        return {name: getattr(self, name) for name in names}


class Paced(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule whose numbers of steps are variables, so that a compiled training takes those of another.

    Args:
        schedule: One of :func:`build`.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule) -> None:
        self.schedule = schedule
        counts = [name for name in COUNTS if hasattr(schedule, name)]
        self.counts = {name: keras.Variable(0.0, trainable=False, name=name) for name in counts}
        self.put(schedule)

    def put(self, schedule: keras.optimizers.schedules.LearningRateSchedule) -> None:
        """Take the steps of a schedule that differs in nothing else."""
        for name, variable in self.counts.items():
            variable.assign(getattr(schedule, name))

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0."""
        paced = copy.copy(self.schedule)
        vars(paced).update({name: ops.convert_to_tensor(variable) for name, variable in self.counts.items()})
        return paced(step)

    def get_config(self) -> dict[str, Any]:
        """Return what the schedule is besides its numbers of steps."""
        return {name: value for name, value in self.schedule.get_config().items() if name not in COUNTS}


class Shifted(Saved, keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that begins after some of its steps.

    Args:
        schedule: The schedule.
        steps: Steps that are left out.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, steps: int) -> None:
        self.schedule, self.steps = schedule, steps

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0."""
        return self.schedule(step + self.steps)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the schedule of saved arguments."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["steps"])


def shifted(rate: Any, steps: int) -> Any:
    """Return a learning rate, number or schedule, from a step on."""
    schedule = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    return Shifted(rate, steps) if schedule and steps else rate


def paced(rate: Any) -> Any:
    """Return a learning rate, number or schedule, whose numbers of steps may be put."""
    return Paced(rate) if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) else rate


def put_steps(rate: Any, other: Any) -> None:
    """Give a learning rate the numbers of steps of another one of its kind, where both are paced."""
    if isinstance(rate, Paced):
        rate.put(other.schedule)


def besides_steps(rate: Any) -> Any:
    """Return what a paced learning rate is besides its numbers of steps."""
    return rate.get_config() if isinstance(rate, Paced) else rate


def _half_cosine(first: float, last: float, share: Any) -> Any:
    """Go from `first` to `last` along half a cosine while `share` goes from 0 to 1."""
    share = ops.clip(share, 0.0, 1.0)
    return last + (first - last) * (1 + ops.cos(math.pi * share)) / 2


def _constant(learning_rate: float, per_epoch: int, epochs: int) -> float:
    return learning_rate


def _step(
    learning_rate: float, per_epoch: int, epochs: int, every: int = 10, factor: float = 0.5
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Multiply by `factor` after every `every` epochs."""
    return keras.optimizers.schedules.ExponentialDecay(
        learning_rate, decay_steps=every * per_epoch, decay_rate=factor, staircase=True
    )


def _cosine(
    learning_rate: float, per_epoch: int, epochs: int, warmup_epochs: float = 0, end: float = 0.01
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Rise linearly for `warmup_epochs`, then fall along a cosine to the share `end` of the rate.

    Loshchilov & Hutter, *SGDR*, 2017, https://arxiv.org/abs/1608.03983, without restarts.
    """
    warmup = round(warmup_epochs * per_epoch)
    steps = max(epochs * per_epoch - warmup, 1)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=end)
    first = learning_rate / (warmup + 1)
    return keras.optimizers.schedules.CosineDecay(
        first, steps, alpha=end, warmup_target=learning_rate, warmup_steps=warmup
    )


def _one_cycle(learning_rate: float, per_epoch: int, epochs: int, **options: float) -> OneCycle:
    return OneCycle(learning_rate, epochs * per_epoch, **options)  # type: ignore[arg-type]


_SCHEDULES: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "constant": (_constant, ()),
    "step": (_step, ("every", "factor")),
    "cosine": (_cosine, ("warmup_epochs", "end")),
    "one_cycle": (_one_cycle, ("rise", "start_divisor", "end_divisor")),
}
NAMES = tuple(_SCHEDULES)


def build(
    name: str, learning_rate: float, steps_per_epoch: int, epochs: int, **options: float
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return a learning rate for a Keras optimizer.

    Args:
        name: ``"constant"``; ``"step"`` (options every: epochs, factor); ``"cosine"`` (warmup_epochs, end:
            share of the rate that is left); ``"one_cycle"`` (rise, start_divisor, end_divisor).
        learning_rate: The highest rate.
        steps_per_epoch: Batches an epoch.
        epochs: Epochs of the whole training.
        **options: See `name`.

    Raises:
        ParameterError: If the name or an option is unknown, or a number is not positive.
    """
    check_known(name, _SCHEDULES, f"There is no schedule {name!r}")
    function, known = _SCHEDULES[name]
    check_all(options, known, f"Schedule {name!r} has no option")
    if learning_rate <= 0 or steps_per_epoch < 1 or epochs < 1:
        raise ParameterError(
            f"A schedule needs a positive rate, steps and epochs: got {learning_rate}, {steps_per_epoch} and "
            f"{epochs}."
        )
    return function(learning_rate, steps_per_epoch, epochs, **options)
