"""How long from a model file to the first result, cold and with a filled cache, and how large is what is deployed?

    python benchmarks/compile_time.py --zoo DIR --models resnet50 --threads 2 --repeats 3 --json out.json

Cold: a fresh process with an empty compile cache. Warm: a second process that finds the cache of the first. Both count
loading the model, compiling and the first call; importing the contender is listed apart. Contenders take turns.
"""

import statistics
import tempfile
from functools import partial
from pathlib import Path

from harness.compare import Result, Settings, choose_cores
from harness.options import make_parser
from harness.process import ContenderSpec, WorkerError, WorkerProcess
from harness.quantities import run_quantities
from harness.table import format_megabytes, format_seconds
from harness.workloads import Case, read_once


def measure_starts(case: Case, contenders: list[ContenderSpec], threads: int, settings: Settings,
                   repeats: int) -> list[Result]:
    """One result per contender with median cold, warm and import seconds and the artifact's bytes."""
    results = {spec.name: Result(case.name, threads, spec.name) for spec in contenders}
    seconds = {(spec.name, kind): [] for spec in contenders for kind in ("cold", "warm", "import")}
    read_once(case)
    for _ in range(repeats):
        for spec in contenders:
            result = results[spec.name]
            if result.error:
                continue
            try:
                with tempfile.TemporaryDirectory(prefix="benchmark-") as cache:
                    for kind in ("cold", "warm"):
                        with WorkerProcess(spec, threads, choose_cores(threads), Path(cache)) as worker:
                            loaded = worker.load(case, settings.load_timeout)
                            seconds[spec.name, kind].append(loaded["load_seconds"] + loaded["first_call_seconds"])
                            seconds[spec.name, "import"].append(worker.import_seconds)
                            if result.version is None:
                                checked = worker.check()
                                result.version, result.peak = worker.version, loaded["peak"]
                                result.relative_error = checked["relative_error"]
                                result.artifact_bytes = checked["artifact_bytes"]
            except WorkerError as error:
                result.error = str(error)
    for name, result in results.items():
        if not result.error:
            result.cold_seconds = statistics.median(seconds[name, "cold"])
            result.warm_seconds = statistics.median(seconds[name, "warm"])
            result.import_seconds = statistics.median(seconds[name, "import"])
    return list(results.values())


def main() -> None:
    """Run from the command line."""
    parser = make_parser("time cold and warm starts of lamina and its peers", "models")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of a cold and a warm start (default 3)")
    arguments = parser.parse_args()
    run_quantities("compile_time", arguments, partial(measure_starts, repeats=arguments.repeats), (
        ("cold s", lambda result: format_seconds(result.cold_seconds)),
        ("warm s", lambda result: format_seconds(result.warm_seconds)),
        ("import s", lambda result: format_seconds(result.import_seconds)),
        ("artifact MB", lambda result: format_megabytes(result.artifact_bytes)),
    ), f"Medians of {arguments.repeats} fresh processes; seconds from the model file to the first result.")


if __name__ == "__main__":
    main()
