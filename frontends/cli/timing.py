"""How long does a call take, and is one faster than another?  Samples taken in turns, and what they say with which
certainty."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...compiler.core.errors import LaminaError

LEAST = 5  # turns of each contender, however long one run takes
TURN = 0.02  # seconds that one contender runs before it is the other's turn
RESAMPLES = 1000
CONFIDENCE = 0.95
POINTS = 64  # that stand for a turn of more samples


class Samples:
    """Seconds of single calls of one contender, by turn: what disturbs one call of a turn disturbs its neighbours
    too."""

    def __init__(self, turns: list[list[float]] | None = None):
        self.turns: list[list[float]] = turns or []

    @property
    def times(self) -> list[float]:
        """All samples, in order."""
        return [seconds for turn in self.turns for seconds in turn]

    def __len__(self) -> int:
        return sum(map(len, self.turns))

    def points(self) -> list[np.ndarray]:
        """Each turn as an array: itself, or quantiles where it is long."""
        ranks = (np.arange(POINTS) + 0.5) / POINTS
        return [np.asarray(t) if len(t) <= POINTS else np.quantile(t, ranks) for t in self.turns]


def measure(contenders: Mapping[str, Callable], least_seconds: float,
            samples: dict[str, Samples] | None = None) -> dict[str, Samples]:
    """The samples of each contender, added to those there are. Contenders take turns until each has run for
    `least_seconds` more, in at least `LEAST` turns."""
    samples = {name: Samples() for name in contenders} if samples is None else samples
    for call in contenders.values():  # the first calls pay for pages, caches and lazy starts
        call()
        call()
    spent = dict.fromkeys(contenders, 0.0)
    while any(spent[n] < least_seconds or len(samples[n].turns) < LEAST for n in contenders):
        for name, call in contenders.items():
            turn: list[float] = []
            total = 0.0
            while total < TURN:
                begun = time.perf_counter()
                call()
                turn.append(time.perf_counter() - begun)
                total += turn[-1]
            samples[name].turns.append(turn)
            spent[name] += total
    return samples


def summarize(times: list[float]) -> dict:
    """Median, 90th and 99th percentile, and minimum of the samples, in seconds, and their number."""
    return {"median": float(np.quantile(times, 0.5)), "p90": float(np.quantile(times, 0.9)),
            "p99": float(np.quantile(times, 0.99)),
            "minimum": min(times), "samples": len(times)}


# ---- how sure --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Interval:
    """An estimate, and the bounds between which the true value lies with 95 % confidence."""

    estimate: float
    low: float
    high: float


def quantile_interval(samples: Samples, q: float) -> Interval:
    """The quantile `q` of a contender's times. Bounds by the bootstrap over turns (Efron 1979; of blocks, Künsch
    1989)."""
    return _interval(lambda turns: float(np.quantile(np.concatenate(turns), q)), [samples.points()], is_paired=False)


def ratio_interval(samples: Samples, base: Samples, q: float, is_paired: bool) -> Interval:
    """How many times the quantile `q` of `base` that of `samples` is. `is_paired`: they took turns, so that the turns
    of one number are drawn together, and what disturbed both cancels."""
    return _interval(lambda a, b: float(np.quantile(np.concatenate(a), q) / np.quantile(np.concatenate(b), q)),
                     [samples.points(), base.points()], is_paired)


def _interval(statistic: Callable[..., float], contenders: list[list[np.ndarray]], is_paired: bool) -> Interval:
    random = np.random.default_rng(0)
    counts = [min(map(len, contenders))] * len(contenders) if is_paired else list(map(len, contenders))
    found = []
    for _ in range(RESAMPLES):
        drawn = [random.integers(0, counts[0], counts[0])] * len(counts) if is_paired else [random.integers(0, n, n)
                                                                                            for n in counts]
        found.append(statistic(*([turns[i] for i in indices] for turns, indices in zip(contenders, drawn))))
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(statistic(*contenders), float(low), float(high))


@dataclass(frozen=True)
class Assertion:
    """A limit on a quantile of the times: in seconds, or as a multiple of the baseline's."""

    text: str
    quantile: float
    limit: float
    is_ratio: bool

    def verdict(self, interval: Interval) -> str:
        """ "holds", "broken", or "undecided" where the limit lies between the bounds."""
        return "broken" if interval.low > self.limit else "holds" if interval.high <= self.limit else "undecided"


_ASSERTION = re.compile(r"(?P<what>p(?P<rank>\d+(?:\.\d+)?)|median|min)\s*<=\s*(?P<limit>\d+(?:\.\d*)?|\.\d+)\s*"
                        r"(?P<unit>x|s|ms|us|ns)")
_UNITS = {"x": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def parse_assertion(text: str) -> Assertion:
    """The Assertion that is spelled "p50<=1.05x", "median<=3ms", "min<=1x"."""
    match = _ASSERTION.fullmatch(text.strip())
    if match is None or match["rank"] and float(match["rank"]) > 100:
        raise LaminaError(f"can't read the assertion {text!r}",
                          hint='write "p50<=1.05x" against a baseline, or "p99<=3ms"')
    rank = 0.5 if match["what"] == "median" else 0.0 if match["what"] == "min" else float(match["rank"]) / 100
    return Assertion(text.strip(), rank, float(match["limit"]) * _UNITS[match["unit"]], match["unit"] == "x")
