"""What do the samples say?  Undisturbed samples are kept, medians and geometric means summarize them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MINIMUM_CLEAN_SAMPLES = 5
MINIMUM_CLEAN_SHARE = 0.2


class Sample(NamedTuple):
    """One timed call: wall seconds and how often the kernel took the processor away meanwhile (ru_nivcsw)."""

    seconds: float
    preemptions: int


@dataclass(frozen=True)
class Summary:
    """Median, quartiles and minimum in seconds, of `kept` out of `count` samples."""

    median: float
    lower_quartile: float
    upper_quartile: float
    minimum: float
    count: int
    kept: int
    is_disturbed: bool


def keep_clean(samples: Sequence[Sample]) -> tuple[list[Sample], bool]:
    """The samples without involuntary context switches, and whether disturbed ones had to stay.

    A preempted call measures the neighbours. When too few calls were left alone (long calls on a busy machine), the
    less disturbed half stays and the flag says so: a few clean ones out of many would be the lucky ones.
    """
    clean = [s for s in samples if s.preemptions == 0]
    if len(clean) >= min(MINIMUM_CLEAN_SAMPLES, len(samples)) and len(clean) >= MINIMUM_CLEAN_SHARE * len(samples):
        return clean, False
    limit = statistics.median_low(s.preemptions for s in samples)
    return [s for s in samples if s.preemptions <= limit], True


def summarize(samples: Sequence[Sample]) -> Summary:
    """Median and quartiles of the clean samples. Raises ValueError without samples."""
    if not samples:
        raise ValueError("no samples to summarize")
    kept, is_disturbed = keep_clean(samples)
    seconds = sorted(s.seconds for s in kept)
    lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    return Summary(median, lower, upper, seconds[0], len(samples), len(kept), is_disturbed)


def geometric_mean(values: Iterable[float]) -> float | None:
    """The geometric mean of positive numbers: the mean that is right for ratios. None of nothing."""
    logarithms = [math.log(v) for v in values]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None
