"""lamina profile: where does the time of a model go?"""

from __future__ import annotations

from ..parser import OK, add_compile_options, add_model_options

SUMMARY = "where the time goes: by kernel, line or layer, beside what this machine can do; a trace for Perfetto"
EXAMPLES = """
lamina profile model.onnx                             the kernels that take longest
lamina profile model.onnx --by layer --depth 2        by the path in front of the nodes' names
lamina profile train.py:step --spec x=64,128 --by line
lamina profile model.onnx --trace run.json            open it at ui.perfetto.dev
lamina profile model.lam --threads 1 --by launch --json | jq '.launches[] | select(.share < 0.5)'
"""
KEYS = ("kernel", "launch", "line", "layer")


def configure(parser) -> None:
    """The arguments of the command."""
    add_model_options(parser)
    parser.add_argument("-i", "--input", action="append", default=[], metavar="SPEC",
                        help="an input (see lamina run); others are random")
    parser.add_argument("--by", choices=KEYS, default="kernel",
                        help="what a row stands for: a kernel (default), a launch, a line of the program, a layer")
    parser.add_argument("--depth", type=int, metavar="N", help="layers by the first N parts of their path")
    parser.add_argument("--top", type=int, default=20, metavar="N", help="the N longest rows (default 20; 0: all)")
    parser.add_argument("--trace", metavar="FILE",
                        help="write the fastest run as a trace that Perfetto and chrome://tracing open")
    parser.add_argument("--threads", type=int, default=0, metavar="N",
                        help="at most N threads (default: as many as this process may use)")
    parser.add_argument("--min-time", type=float, default=1.0, metavar="SECONDS",
                        help="measure for about this long (default 1)")
    add_compile_options(parser)


def run(arguments, console) -> int:
    """Measure, print the table, write the trace. Ctrl-C ends the measuring; what was measured is shown."""
    import json

    from ....compiler.core.errors import LaminaError
    from ...compile import measure_roofline
    from ..arrays import gather_inputs, require_folder, write_file
    from ..model import load_executable
    for option in ("threads", "top", "min_time"):
        if getattr(arguments, option) < 0:
            raise LaminaError(f"--{option.replace('_', '-')} is {getattr(arguments, option)}", hint="give 0 or more")
    if arguments.depth is not None and arguments.by != "layer":
        raise LaminaError("--depth is for --by layer")
    if arguments.trace:
        require_folder(arguments.trace)  # before the work, not after it
    executable = load_executable(arguments, console)
    feeds = gather_inputs(arguments.input, executable.inputs, executable.signature.symbols, fill="rand:0")
    with console.progress("measuring") as tell:
        roofline = measure_roofline(arguments.threads)
        tell("the machine")
        profile = executable.profile(*feeds.values(), threads=arguments.threads, seconds=arguments.min_time,
                                     roofline=roofline)
        tell("the model")
    if profile.is_interrupted:
        console.error(f"interrupted: figures are of {profile.runs} runs")
    if console.json:
        console.result("profile", {"model": arguments.model,
                                   "inputs": {n: f"{a.dtype.name}{list(a.shape)}" for n, a in feeds.items()},
                                   **profile.to_json(), "trace": arguments.trace})
    else:
        console.table(*profile.table(arguments.by, arguments.top or None, arguments.depth))
        console.note(profile.summary())
    if arguments.trace:
        write_file(arguments.trace, json.dumps(profile.trace()))
        console.note(f"{arguments.trace}: {len(profile.events)} launches"
                     + (f", {profile.missing_events} more are left out" if profile.missing_events else ""))
    return OK
