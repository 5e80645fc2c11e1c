"""How much memory does a model take, while it is loaded and while it runs?

    python benchmarks/memory.py --zoo DIR --models resnet50,minilm --threads 2

Two fresh processes per contender and model, resident bytes from the system, child processes (compilers) not counted:

    base     contender imported, inputs in memory          peak     the most up to and including the first result
    warm     the same in a second process, with the        running  the most during further calls, less the base
             compile cache that the first one filled       planned  arena and its lower bound, where a contender tells

Weights that are mapped from a file count as resident, like private copies do.
"""

import tempfile
from pathlib import Path

from harness.compare import Result, Settings, choose_cores
from harness.options import make_parser
from harness.process import ContenderSpec, WorkerError, WorkerProcess
from harness.quantities import run_quantities
from harness.table import MISSING, format_megabytes
from harness.workloads import Case

FURTHER_CALLS = 5


def measure_memory(case: Case, contenders: list[ContenderSpec], threads: int, settings: Settings) -> list[Result]:
    """One result per contender, one process at a time."""
    results = []
    for spec in contenders:
        result = Result(case.name, threads, spec.name)
        results.append(result)
        try:
            with tempfile.TemporaryDirectory(prefix="benchmark-") as cache:
                with WorkerProcess(spec, threads, choose_cores(threads), Path(cache)) as worker:
                    loaded = worker.load(case, settings.load_timeout)
                    steady = worker.steady(FURTHER_CALLS)  # before the check, which brings the references into memory
                    checked = worker.check()
                    result.version, result.relative_error = worker.version, checked["relative_error"]
                    result.resident_before, result.peak = loaded["resident_before"], loaded["peak"]
                    result.running_peak, result.planned_memory = steady["peak"], checked["planned_memory"]
                with WorkerProcess(spec, threads, choose_cores(threads), Path(cache)) as worker:
                    result.warm_peak = worker.load(case, settings.load_timeout)["peak"]
        except WorkerError as error:
            result.error = str(error)
    return results


def above_base(result: Result) -> str:
    """Megabytes of the running peak over the base."""
    if result.running_peak is None or result.resident_before is None:
        return MISSING
    return format_megabytes(result.running_peak - result.resident_before)


def planned(result: Result) -> str:
    """Arena and lower bound, in megabytes."""
    plan = result.planned_memory
    return f"{format_megabytes(plan['arena'])} ({format_megabytes(plan['lower_bound'])})" if plan else MISSING


def main() -> None:
    """Run from the command line."""
    run_quantities("memory", make_parser("measure the memory of lamina and its peers", "models").parse_args(), measure_memory, (
        ("base MB", lambda result: format_megabytes(result.resident_before)),
        ("peak MB to the first result", lambda result: format_megabytes(result.peak)),
        ("peak MB of a warm start", lambda result: format_megabytes(result.warm_peak)),
        ("running MB over the base", above_base),
        ("planned arena MB (lower bound)", planned),
    ))


if __name__ == "__main__":
    main()
