"""What does a busy neighbour do to a model, and what does a loaded model do to its neighbours?

    python benchmarks/load.py --zoo DIR --models minilm,resnet50 --vs onnxruntime,openvino --threads 2

One fresh process per contender and model, with as many threads as cores:

    quiet    median of a call, nothing else running
    beside   median and 99th percentile of a call, as multiples of that, while a foreign process is busy on one of the
             cores for all of the time
    idle     processor time that the process takes while nobody calls it, in per cent of one core
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from harness.compare import Result, Settings, choose_cores
from harness.options import make_parser
from harness.process import ContenderSpec, WorkerError, WorkerProcess
from harness.quantities import run_quantities
from harness.statistics import Sample, summarize
from harness.table import MISSING, format_ratio, format_time
from harness.workloads import Case

CALLS = 1000
BUSY = "import os, sys\nos.sched_setaffinity(0, [int(sys.argv[1])])\nprint(flush=True)\nwhile True: pass"


@contextmanager
def busy_neighbour(core: int) -> Iterator[None]:
    """A process that computes on `core` without a pause."""
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(core)], stdout=subprocess.PIPE)
    try:
        process.stdout.read(1)
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


def measure_load(case: Case, contenders: list[ContenderSpec], threads: int, settings: Settings, seconds: float,
                 idle_seconds: float) -> list[Result]:
    """One result per contender, one process at a time."""
    results = []
    for spec in contenders:
        result = Result(case.name, threads, spec.name)
        results.append(result)
        cores = choose_cores(threads)
        try:
            with (tempfile.TemporaryDirectory(prefix="benchmark-") as cache,
                  WorkerProcess(spec, threads, cores, Path(cache)) as worker):
                worker.load(case, settings.load_timeout)
                result.version, result.relative_error = worker.version, worker.check()["relative_error"]
                result.summary = summarize(_samples(worker.time(seconds, CALLS)))
                with busy_neighbour(cores[-1]):
                    result.beside_busy = [s.seconds for s in _samples(worker.time(seconds, CALLS))]
                result.idle_share = worker.idle(idle_seconds)["processor_seconds"] / idle_seconds
        except WorkerError as error:
            result.error = str(error)
    return results


def _samples(pairs: list[tuple[int, int]]) -> list[Sample]:
    return [Sample(duration * 1e-9, switches) for duration, switches in pairs]


def beside(share: float):
    """A cell: the call that is slower than `share` of those beside a busy process, as a multiple of the quiet median."""
    def cell(result: Result) -> str:
        if not result.summary or not result.beside_busy:
            return MISSING
        ordered = sorted(result.beside_busy)
        return format_ratio(ordered[min(len(ordered) - 1, int(share * len(ordered)))] / result.summary.median)
    return cell


def main() -> None:
    """Run from the command line."""
    parser = make_parser("time models beside a busy process, and what they take when idle", "models")
    parser.add_argument("--seconds", type=float, default=5.0, help="of calls, quiet and beside a busy process (default 5)")
    parser.add_argument("--idle", type=float, default=10.0, metavar="SECONDS", help="without a call (default 10)")
    arguments = parser.parse_args()
    if not hasattr(os, "sched_setaffinity"):
        sys.exit("this system can't keep a process on one core")
    run_quantities("load", arguments, partial(measure_load, seconds=arguments.seconds, idle_seconds=arguments.idle), (
        ("quiet median ms", lambda result: format_time(result.seconds)),
        ("median beside a busy process / quiet median", beside(0.5)),
        ("99th percentile beside a busy process / quiet median", beside(0.99)),
        ("idle, % of a core", lambda result: MISSING if result.idle_share is None else f"{result.idle_share:.1%}"),
    ))


if __name__ == "__main__":
    main()
