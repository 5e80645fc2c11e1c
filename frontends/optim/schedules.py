"""How does a hyperparameter change with the steps?  As a function of the number of updates done, known or traced.

Each function here gives a schedule: `schedule(step) -> float32 scalar`, 0 being the first step. Any such function of
your own will do.
"""

from __future__ import annotations

import math
from typing import Callable, Sequence

from ...compiler.core.dtypes import float32
from ..array.elementwise import floor, less, maximum, minimum, power, where
from ..array.operands import Array, as_array, cast
from ..array.trigonometry import cos

Schedule = Callable[[Array], Array]


def _float(step) -> Array:
    return cast(as_array(step), float32)


def _part(step, steps: int) -> Array:
    """How much of `steps` is done, from 0 to 1."""
    return minimum(maximum(_float(step) / max(1, steps), 0.0), 1.0)


def constant(value: float) -> Schedule:
    """`value` at every step."""
    return lambda step: as_array(value, float32)


def step(start: float, every: int, factor: float = 0.1) -> Schedule:
    """start * factor^(step // every)."""
    return lambda step: start * power(as_array(factor, float32), floor(_float(step) / every))


def multi_step(start: float, at: Sequence[int], factor: float = 0.1) -> Schedule:
    """`start`, multiplied by `factor` at each of the steps `at`."""
    def schedule(step):
        value, count = as_array(start, float32), _float(step)
        for boundary in at:
            value = where(less(count, float(boundary)), value, value * factor)
        return value
    return schedule


def exponential(start: float, factor: float, every: int = 1) -> Schedule:
    """start * factor^(step / every)."""
    return lambda step: start * power(as_array(factor, float32), _float(step) / every)


def polynomial(start: float, end: float, steps: int, degree: float = 1.0) -> Schedule:
    """From `start` to `end` in `steps` as (1 - step/steps)^degree, `end` from then on."""
    def schedule(step):
        left = 1.0 - _part(step, steps)
        return end + (start - end) * (left if degree == 1.0 else power(left, float(degree)))
    return schedule


def linear(start: float, end: float, steps: int) -> Schedule:
    """From `start` to `end` in `steps` along a line, `end` from then on."""
    return polynomial(start, end, steps)


def cosine(start: float, steps: int, end: float = 0.0) -> Schedule:
    """From `start` to `end` in `steps` along half a cosine (Loshchilov, Hutter, "SGDR", ICLR 2017), `end` from then
    on."""
    return lambda step: end + (start - end) * 0.5 * (1.0 + cos(math.pi * _part(step, steps)))


def warmup(schedule: Schedule | float, steps: int, start: float = 0.0) -> Schedule:
    """From `start` along a line to the beginning of `schedule`, which begins after `steps`."""
    then = schedule if callable(schedule) else constant(schedule)
    def rising(step):
        return start + (then(as_array(0)) - start) * _part(step, steps)
    return join([rising, then], [steps])


def join(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after the other: the next one begins, at its step 0, at each of the `boundaries`."""
    if len(schedules) != len(boundaries) + 1:
        raise ValueError(f"{len(schedules)} schedules need {len(schedules) - 1} boundaries, not {len(boundaries)}")
    def joined(step):
        step = as_array(step)
        value = schedules[0](step)
        for boundary, schedule in zip(boundaries, schedules[1:]):
            value = where(less(step, boundary), value, schedule(maximum(step - boundary, 0)))
        return value
    return joined


def one_cycle(peak: float, steps: int, rising: float = 0.3, start_factor: float = 25.0,
              end_factor: float = 1e4) -> Schedule:
    """From peak / start_factor up to `peak` in the part `rising` of all `steps`, and down to 1 / end_factor of the
    start, along half cosines: Smith, Topin, "Super-convergence", 2018, as torch's OneCycleLR."""
    start = peak / start_factor
    turn, last = rising * steps - 1, steps - 1
    def schedule(step):
        count = _float(step)
        up = minimum(count / max(turn, 1e-6), 1.0)
        down = minimum(maximum((count - turn) / (last - turn), 0.0), 1.0)
        return where(less(turn, count), _between(peak, start / end_factor, down), _between(start, peak, up))
    return schedule


def _between(start: float, end: float, part: Array) -> Array:
    return end + (start - end) * 0.5 * (1.0 + cos(math.pi * part))
