"""How fast is each contender on one workload?  Interleaved bursts, one process active at a time, silence between."""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from .machine import allowed_cores
from .process import ContenderSpec, WorkerError, WorkerProcess
from .statistics import Sample, Summary, keep_clean, summarize
from .workloads import Case, read_once


@dataclass(frozen=True)
class Settings:
    """How long to measure: bursts of `burst_seconds` (at most `burst_calls` calls), `rounds` per contender.

    While a contender has too few undisturbed calls, everybody gets further rounds, up to `extra_rounds`.
    Before each burst stands a gap of random length, so that spinning threads of the last contender go to sleep and
    periodic neighbours do not always hit the same one. `load_timeout` in seconds bounds load and first call.
    """

    rounds: int = 7
    extra_rounds: int = 7
    burst_seconds: float = 0.1
    burst_calls: int = 1000
    gap_seconds: tuple[float, float] = (0.015, 0.030)
    load_timeout: float = 600.0


@dataclass
class Result:
    """One contender on one workload. `error` says why there is no time; bytes are of the contender's process.

    `beside_busy` are seconds of calls beside a busy process, `idle_share` the part of a core that it takes uncalled.
    """

    workload: str
    threads: int
    contender: str
    version: str | None = None
    summary: Summary | None = None
    relative_error: float | None = None
    import_seconds: float | None = None
    cold_seconds: float | None = None
    warm_seconds: float | None = None
    resident_before: int | None = None
    peak: int | None = None
    warm_peak: int | None = None
    running_peak: int | None = None
    artifact_bytes: int | None = None
    planned_memory: dict[str, int] | None = None
    beside_busy: list[float] | None = None
    idle_share: float | None = None
    error: str | None = None

    @property
    def seconds(self) -> float | None:
        """Median seconds of one call, None if there is none."""
        return self.summary.median if self.summary else None

    def as_json(self) -> dict:
        """All fields as JSON values, the summary nested."""
        return asdict(self)


def choose_cores(threads: int) -> list[int]:
    """The cores that a contender with so many threads is pinned to: the last ones, the first serve interrupts."""
    return allowed_cores()[-threads:]


def compare(case: Case, contenders: list[ContenderSpec], threads: int, settings: Settings) -> list[Result]:
    """One result per contender, in the given order. Starts and ends all processes; caches are empty at the start."""
    results = {spec.name: Result(case.name, threads, spec.name) for spec in contenders}
    samples: dict[str, list[Sample]] = {spec.name: [] for spec in contenders}
    gaps = random.Random(0)
    read_once(case)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        running: list[WorkerProcess] = []
        for spec in contenders:
            result = results[spec.name]
            cache = folder / spec.name
            cache.mkdir()
            try:
                worker = stack.enter_context(WorkerProcess(spec, threads, choose_cores(threads), cache))
                _fill(result, worker, worker.load(case, settings.load_timeout), worker.check())
                running.append(worker)
            except WorkerError as error:
                result.error = str(error)
        for turn in range(settings.rounds + settings.extra_rounds):
            active = [worker for worker in running if not results[worker.spec.name].error]
            if turn >= settings.rounds and not any(keep_clean(samples[worker.spec.name])[1] for worker in active):
                break
            first = turn % max(len(active), 1)
            for worker in active[first:] + active[:first]:
                time.sleep(gaps.uniform(*settings.gap_seconds))
                try:
                    pairs = worker.time(settings.burst_seconds, settings.burst_calls)
                except WorkerError as error:
                    results[worker.spec.name].error = str(error)
                else:
                    samples[worker.spec.name] += [Sample(duration * 1e-9, switches) for duration, switches in pairs]
        for worker in running:
            if not results[worker.spec.name].error:
                results[worker.spec.name].running_peak = worker.steady(1)["peak"]
    for name, result in results.items():
        if samples[name] and not result.error:
            result.summary = summarize(samples[name])
    return list(results.values())


def _fill(result: Result, worker: WorkerProcess, loaded: dict, checked: dict) -> None:
    result.version, result.import_seconds = worker.version, worker.import_seconds
    result.cold_seconds = loaded["load_seconds"] + loaded["first_call_seconds"]
    result.resident_before, result.peak = loaded["resident_before"], loaded["peak"]
    result.relative_error = checked["relative_error"]
    result.artifact_bytes, result.planned_memory = checked["artifact_bytes"], checked["planned_memory"]
