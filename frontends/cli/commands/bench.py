"""lamina bench: how long does one run take, and is it still as fast as before?"""

from __future__ import annotations

import argparse
import time

from ..parser import FAILED, OK, add_compile_options, add_model_options

SUMMARY = "how long one run takes; beside onnxruntime with --vs, beside a baseline with --against"
EXAMPLES = """
lamina bench model.onnx --threads 1,2 --vs onnxruntime    both in turns, so that the machine's moods hit both
lamina bench model.lam -i tokens=1x128xi64=rand:0:0..50256 --json
lamina bench model.onnx --save base.json                  keep the times, and later, on this machine:
lamina bench model.onnx --against base.json --assert "p50<=1.05x" --assert "p99<=20ms"
lamina bench model.onnx --against old.lam --assert "p50<=1x"    an artifact of before, in turns: surer
"""
PEERS = ("onnxruntime",)
ROUNDS = 4  # of --min-time, at most, while an assertion is undecided


def configure(parser) -> None:
    """The arguments of the command."""
    add_model_options(parser)
    parser.add_argument("-i", "--input", action="append", default=[], metavar="SPEC",
                        help="an input (see lamina run); others are random")
    parser.add_argument("--threads", type=thread_counts, default=None, metavar="N,N",
                        help="numbers of threads to measure with (default: all)")
    parser.add_argument("--vs", choices=PEERS, help="measure this beside lamina, on the same inputs, in turns")
    parser.add_argument("--min-time", type=float, default=1.0, metavar="SECONDS",
                        help="at least this long for each contender (default 1)")
    parser.add_argument("--save", metavar="FILE", help="keep the times in a .json file, as a baseline")
    parser.add_argument("--against", metavar="BASE",
                        help="a baseline: a file that --save wrote, or a model or artifact, measured in turns")
    parser.add_argument("--assert", dest="assertions", action="append", default=[], metavar="LIMIT",
                        help='"p50<=1.05x" of the baseline, "p99<=3ms": exit 1 where the samples prove it broken')
    parser.add_argument("--any-machine", action="store_true",
                        help="compare with a baseline from another machine all the same")
    add_compile_options(parser)


def thread_counts(text: str) -> list[int]:
    """The numbers in "1,2,4"."""
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of thread counts such as 1,2")
    return counts


def run(arguments, console) -> int:
    """Measure, compare and print; times are of one call with everything prepared."""
    from ....compiler.core.errors import LaminaError
    from ..arrays import gather_inputs, require_folder
    from ..baseline import read_baseline, require_comparable, save_baseline
    from ..model import arguments_for, load_executable
    from ..timing import parse_assertion
    assertions = [parse_assertion(text) for text in arguments.assertions]
    if any(a.is_ratio for a in assertions) and not arguments.against:
        raise LaminaError(f"{next(a.text for a in assertions if a.is_ratio)} is a multiple of nothing",
                          hint="--against a baseline")
    if arguments.vs and not arguments.model.endswith(".onnx"):
        raise LaminaError(f"--vs {arguments.vs} needs an .onnx file, MODEL is {arguments.model}")
    if arguments.vs:
        require_peer(arguments.vs)
    if arguments.save:
        require_folder(arguments.save)
    baseline = read_baseline(arguments.against) if (arguments.against or "").endswith(".json") else None
    begun = time.perf_counter()
    executable = load_executable(arguments, console)
    prepared = time.perf_counter() - begun
    feeds = gather_inputs(arguments.input, executable.inputs, executable.signature.symbols, fill="rand:0")
    inputs = {n: f"{a.dtype.name}{list(a.shape)}" for n, a in feeds.items()}
    counts = arguments.threads or [available_threads()]
    if baseline is not None:
        for difference in require_comparable(baseline, arguments.against, inputs, counts, arguments.any_machine):
            console.error(f"{arguments.against} was taken on another machine: {difference}")
    runs = arguments.against and baseline is None
    before = load_executable(arguments_for(arguments, arguments.against), console) if runs else None
    found = {}
    for threads in counts:
        contenders = {"lamina": lambda: executable.run(feeds, threads=threads)}
        if arguments.vs:
            contenders[arguments.vs] = open_peer(arguments.model, feeds, threads)
        if before is not None:
            contenders["base"] = lambda: before.run(feeds, threads=threads)
        known = None if baseline is None else baseline["samples"][threads]
        found[threads] = judge(contenders, known, assertions, arguments.min_time)
    samples = {threads: taken for threads, (taken, _) in found.items()}
    if arguments.save:
        save_baseline(arguments.save, arguments.model, inputs,
                      {threads: taken["lamina"] for threads, taken in samples.items()})
    return show(arguments, console, samples, {threads: verdicts for threads, (_, verdicts) in found.items()}, inputs,
                prepared)


def judge(contenders: dict, known, assertions, least_seconds: float) -> tuple[dict, list[dict]]:
    """(samples by contender, what they say of the baseline's medians and of each assertion). Measures on while an
    assertion is undecided. `known` are the baseline's samples, where it can't run."""
    from ..timing import measure, quantile_interval, ratio_interval
    samples = None
    for _ in range(ROUNDS):
        samples = measure(contenders, least_seconds, samples)
        base = known if known is not None else samples.get("base")
        found = []
        if base is not None:
            found.append({"assertion": None, "is_ratio": True, "verdict": None,
                          **vars(ratio_interval(samples["lamina"], base, 0.5, known is None))})
        for assertion in assertions:
            if assertion.is_ratio:
                interval = ratio_interval(samples["lamina"], base, assertion.quantile, known is None)
            else:
                interval = quantile_interval(samples["lamina"], assertion.quantile)
            found.append({"assertion": assertion.text, "is_ratio": assertion.is_ratio,
                          "verdict": assertion.verdict(interval), **vars(interval)})
        if all(v["verdict"] != "undecided" for v in found):
            break
    return samples, found


def show(arguments, console, samples: dict, verdicts: dict, inputs: dict, prepared: float) -> int:
    """Print the results; the exit code."""
    from ..timing import summarize
    rows = [{"contender": name, "threads": threads, **summarize(s.times)} for threads, taken in samples.items()
            for name, s in taken.items()]
    judged = [{"threads": threads, **v} for threads, found in verdicts.items() for v in found]
    if console.json:
        console.result("bench", {"model": arguments.model, "inputs": inputs, "prepare_seconds": prepared,
                                 "results": rows,
                                 "ratios": ratios(rows, arguments.vs), "against": arguments.against,
                                 "verdicts": judged})
    else:
        print_rows(rows, inputs, prepared, arguments, console)
        print_verdicts(judged, arguments.against, console)
    return FAILED if any(v["verdict"] == "broken" for v in judged) else OK


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


def ratios(rows: list[dict], peer: str | None) -> dict[str, float]:
    """The peer's median over lamina's, by number of threads: above 1 lamina is faster."""
    medians = {(row["contender"], row["threads"]): row["median"] for row in rows}
    return {str(threads): medians[peer, threads] / time for (name, threads), time in medians.items()
            if name == "lamina"} if peer else {}


def print_rows(rows: list[dict], inputs: dict, prepared: float, arguments, console) -> None:
    """The table, and how the two compare."""
    from ..console import format_seconds
    console.note(f"ready in {format_seconds(prepared)}; inputs: " + ", ".join(f"{n} {t}" for n, t in inputs.items()))
    console.table(("contender", "threads", "median", "p90", "p99", "minimum", "samples"),
                  [(r["contender"], r["threads"], *(format_seconds(r[k]) for k in ("median", "p90", "p99", "minimum")),
                    r["samples"]) for r in rows])
    for threads, ratio in ratios(rows, arguments.vs).items():
        console.print(f"{threads} thread{'s' * (threads != '1')}: lamina takes {1 / ratio:.2f} of {arguments.vs}'s time"
                      + (f" ({ratio:.2f} times as fast)" if ratio >= 1 else f" ({1 / ratio:.2f} times as slow)"))


def print_verdicts(verdicts: list[dict], base: str | None, console) -> None:
    """A line for the baseline and each assertion: what was found, between which bounds, and what that means."""
    from ..console import format_seconds
    words = {"holds": "holds", "broken": "is broken", "undecided": "is undecided; measure longer (--min-time)"}
    for v in verdicts:
        low, value, high = (f"{v[k]:.3g}x" if v["is_ratio"] else format_seconds(v[k])
                            for k in ("low", "estimate", "high"))
        what = f"{v['assertion']} {words[v['verdict']]}" if v["assertion"] else f"median beside that of {base}"
        console.print(f"{v['threads']} thread{'s' * (v['threads'] != 1)}: {what}: {value}, between {low} and {high} "
                      "(95 % confidence)")
