"""lamina bench: how long does one run take?"""

from __future__ import annotations

import time

from ..parser import OK, add_compile_options, add_model_options

SUMMARY = "how long one run takes; beside onnxruntime with --vs"
EXAMPLES = """
lamina bench model.onnx
lamina bench model.onnx --threads 1,2 --vs onnxruntime    both in turns, so that the machine's moods hit both
lamina bench model.onnx --dim batch=32 --min-time 5
lamina bench model.lam -i tokens=1x128xi64=rand:0:0..50256 --json
"""
PEERS = ("onnxruntime",)
LEAST = 5  # samples of each contender, however long one run takes
TURN = 0.02  # seconds that one contender runs before it is the other's turn


def configure(parser) -> None:
    """The arguments of the command."""
    add_model_options(parser)
    parser.add_argument("-i", "--input", action="append", default=[], metavar="SPEC", help="an input (see lamina run); others are random")
    parser.add_argument("--threads", type=thread_counts, default=None, metavar="N,N", help="numbers of threads to measure with (default: all)")
    parser.add_argument("--vs", choices=PEERS, help="measure this beside lamina, on the same inputs, in turns")
    parser.add_argument("--min-time", type=float, default=1.0, metavar="SECONDS", help="at least this long for each contender (default 1)")
    add_compile_options(parser)


def thread_counts(text: str) -> list[int]:
    """The numbers in "1,2,4"."""
    import argparse
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of thread counts such as 1,2")
    return counts


def run(arguments, console) -> int:
    """Measure and print; times are of one call with everything prepared."""
    from ....compiler.core.errors import LaminaError
    from ..arrays import gather_inputs
    from ..model import load_executable
    if arguments.vs and not arguments.model.endswith(".onnx"):
        raise LaminaError(f"--vs {arguments.vs} needs an .onnx file, MODEL is {arguments.model}")
    if arguments.vs:
        require_peer(arguments.vs)
    begun = time.perf_counter()
    executable = load_executable(arguments, console)
    prepared = time.perf_counter() - begun
    feeds = gather_inputs(arguments.input, executable.inputs, executable.signature.symbols, fill="rand:0")
    rows = []
    for threads in arguments.threads or [available_threads()]:
        contenders = {"lamina": lambda: executable.run(feeds, threads=threads)}
        if arguments.vs:
            contenders[arguments.vs] = open_peer(arguments.model, feeds, threads)
        samples = measure(contenders, arguments.min_time, console)
        rows += [{"contender": name, "threads": threads, **summarize(times)} for name, times in samples.items()]
    if console.json:
        console.result("bench", {"model": arguments.model, "inputs": {n: f"{a.dtype.name}{list(a.shape)}" for n, a in feeds.items()},
                                 "prepare_seconds": prepared, "results": rows, "ratios": ratios(rows, arguments.vs)})
    else:
        print_rows(rows, feeds, prepared, arguments, console)
    return OK


def available_threads() -> int:
    """The processors that this process may run on."""
    import os
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_peer(name: str) -> None:
    """A LaminaError where the peer is not installed."""
    import importlib.util

    from ....compiler.core.errors import LaminaError
    if importlib.util.find_spec(name) is None:
        raise LaminaError(f"{name} is not installed", hint=f"pip install {name}, or leave --vs out")


def open_peer(path: str, feeds, threads: int):
    """A call that runs the model once with onnxruntime on `threads` threads."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, dict(feeds))


def measure(contenders: dict, least_seconds: float, console=None) -> dict[str, list[float]]:
    """Seconds of single calls by contender. Contenders take turns until each has run for `least_seconds` and `LEAST` calls."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():  # the first calls pay for pages, caches and lazy starts
        call()
        call()
    spent = dict.fromkeys(contenders, 0.0)
    while any(spent[n] < least_seconds or len(samples[n]) < LEAST for n in contenders):
        for name, call in contenders.items():
            turn = 0.0
            while turn < TURN:
                begun = time.perf_counter()
                call()
                seconds = time.perf_counter() - begun
                samples[name].append(seconds)
                turn += seconds
            spent[name] += turn
    return samples


def summarize(times: list[float]) -> dict:
    """Median, 90th and 99th percentile, and minimum of the samples, in seconds, and their number."""
    ordered = sorted(times)

    def quantile(q: float) -> float:
        at = q * (len(ordered) - 1)
        low = int(at)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
    return {"median": quantile(0.5), "p90": quantile(0.9), "p99": quantile(0.99), "minimum": ordered[0], "samples": len(ordered)}


def ratios(rows: list[dict], peer: str | None) -> dict[str, float]:
    """The peer's median over lamina's, by number of threads: above 1 lamina is faster."""
    medians = {(row["contender"], row["threads"]): row["median"] for row in rows}
    return {str(threads): medians[peer, threads] / time for (name, threads), time in medians.items() if name == "lamina"} if peer else {}


def print_rows(rows: list[dict], feeds, prepared: float, arguments, console) -> None:
    """The table, and how the two compare."""
    from ..console import format_seconds
    console.note(f"ready in {format_seconds(prepared)}; inputs: " + ", ".join(f"{n} {a.dtype.name}{list(a.shape)}" for n, a in feeds.items()))
    console.table(("contender", "threads", "median", "p90", "p99", "minimum", "samples"),
                  [(r["contender"], r["threads"], *(format_seconds(r[k]) for k in ("median", "p90", "p99", "minimum")), r["samples"]) for r in rows])
    for threads, ratio in ratios(rows, arguments.vs).items():
        console.print(f"{threads} thread{'s' * (threads != '1')}: lamina takes {1 / ratio:.2f} of {arguments.vs}'s time"
                      + (f" ({ratio:.2f} times as fast)" if ratio >= 1 else f" ({1 / ratio:.2f} times as slow)"))
