"""How much memory does a model take, while it is loaded and while it runs?

    python benchmarks/memory.py --zoo DIR --models resnet50,minilm --threads 2

Two fresh processes per contender and model, resident bytes from the system, child processes (compilers) not counted:

    base     contender imported, inputs in memory          peak     the most up to and including the first result
    warm     the same in a second process, with the        running  the most during further calls, less the base
             compile cache that the first one filled       planned  arena and its lower bound, where a contender tells

Weights that are mapped from a file count as resident, like private copies do.
"""

import sys
import tempfile
from pathlib import Path

from harness.compare import Result, Settings, choose_cores
from harness.options import make_parser, parse_contenders, parse_threads, parse_workloads, zoo_cases
from harness.process import ContenderSpec, WorkerError, WorkerProcess
from harness.record import Record, ask_versions
from harness.report import failure_lines, group, quantity_table
from harness.table import MISSING, format_megabytes
from harness.workloads import MODELS, Case

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
    parser = make_parser("measure the memory of lamina and its peers", "models")
    arguments = parser.parse_args()
    contenders, settings = parse_contenders(arguments), Settings(rounds=0)
    names = [spec.name for spec in contenders]
    cases, missing = zoo_cases(arguments, parse_workloads(arguments, list(MODELS)), Path())
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        record = Record("memory", ask_versions(contenders, Path(folder)), settings)
    print(record.machine_header())
    if missing:
        print(f"Not exported, left out: {', '.join(missing)}")
    for threads in parse_threads(arguments)[-1:]:
        for case in cases:
            print(f"{case.name} ...", file=sys.stderr, flush=True)
            record.results += measure_memory(case, contenders, threads, settings)
            record.write(arguments.json)
        grid = group(record.results, threads)
        for title, cell in (
            (f"base MB, {threads} thread(s)", lambda result: format_megabytes(result.resident_before)),
            ("peak MB to the first result", lambda result: format_megabytes(result.peak)),
            ("peak MB of a warm start", lambda result: format_megabytes(result.warm_peak)),
            ("running MB over the base", above_base),
            ("planned arena MB (lower bound)", planned),
        ):
            print("\n" + quantity_table(grid, names, title, cell))
    failures = failure_lines([result for result in record.results if result.error])
    if failures:
        print(f"\nWithout a result:\n{failures}")


if __name__ == "__main__":
    main()
