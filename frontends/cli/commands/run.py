"""lamina run: what does the model compute for these arrays?"""

from __future__ import annotations

from ..parser import FAILED, OK, add_compile_options, add_model_options

SUMMARY = "run a model on arrays; print, write or compare what it gives"
EXAMPLES = """
lamina run model.onnx -i x=@x.npy -o y.npz             inputs by name, outputs into an .npz
lamina run model.onnx x.npy mask.npy -o - | consumer   inputs in order, the output as .npy on standard output
lamina run model.lam all.npz --expect ref.npz --rtol 1e-3
lamina run model.onnx x.npy --check-nans               where does the NaN come from?
lamina run model.onnx -i image=8x1x8x8xf32=rand:7      generated data: a look at shapes and ranges
"""


def configure(parser) -> None:
    """The arguments of the command."""
    from ..comparison import add_tolerance_options
    add_model_options(parser)
    parser.add_argument("files", nargs="*", metavar="FILE", help=".npy files in the order of the inputs, or .npz with arrays by name")
    parser.add_argument("-i", "--input", action="append", default=[], metavar="SPEC",
                        help="an input: x=@x.npy, x=1x8xf32=rand:7 (seed 7; rand:7:0..9 between bounds), x=zeros, ones, range, 3.5")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the outputs: .npz, .npy (one output), - for standard output")
    parser.add_argument("--expect", metavar="FILE", help="compare with these outputs (.npz by name, .npy for the only one); exit 1 if they differ")
    add_tolerance_options(parser)
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="at most N threads (default: as many as this process may use)")
    add_compile_options(parser)
    parser.add_argument("--check-nans", action="store_true",
                        help="an output that holds a NaN is an error that names the operator that made it; exit 1")


def run(arguments, console) -> int:
    """Run once. Without -o the outputs are described on standard output."""
    from ....compiler.core.errors import LaminaError
    from ..arrays import gather_inputs, read_arrays, write_arrays
    from ..comparison import compare, print_matches
    from ..model import load_executable
    if arguments.threads < 0:
        raise LaminaError(f"--threads {arguments.threads} is no number of threads", hint="1, 2 ... or leave it out")
    if arguments.output == "-" and console.json:
        raise LaminaError("-o - and --json both write to standard output", hint="give -o a file")
    if arguments.output == "-" and arguments.model == "-" and not (arguments.input or arguments.files):
        raise LaminaError("the model comes from standard input, the inputs from nowhere", hint="-i x=@x.npy")
    executable = load_executable(arguments, console)
    feeds = gather_inputs([*arguments.input, *arguments.files], executable.inputs, executable.signature.symbols)
    expected = read_arrays(arguments.expect) if arguments.expect else None
    outputs = executable.run(feeds, threads=arguments.threads)
    if arguments.output:
        write_arrays(arguments.output, outputs, console)
    matches = compare(outputs, expected, arguments.rtol, arguments.atol) if expected is not None else []
    passed = all(m.passed for m in matches)
    if console.json:
        console.result("run", {"model": arguments.model, "ok": passed, "inputs": [_facts(n, a) for n, a in feeds.items()],
                               "outputs": [_facts(n, a) for n, a in outputs.items()], "matches": [m.data() for m in matches]})
    elif matches and arguments.output != "-":
        print_matches(matches, arguments.rtol, arguments.atol, console)
    elif not arguments.output:
        _print_outputs(outputs, console)
    if not passed and arguments.output == "-":
        console.error("the outputs differ from what was expected: " + ", ".join(m.name for m in matches if not m.passed))
    return OK if passed else FAILED


def _facts(name: str, array) -> dict:
    """An array in a few numbers; those that JSON lacks are null."""
    import math

    import numpy as np
    facts = {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
    if array.size:
        values = array.astype(np.float64)
        with np.errstate(all="ignore"):
            found = {"min": values.min(), "max": values.max(), "mean": values.mean()}
        facts |= {k: float(v) if math.isfinite(v) else None for k, v in found.items()} | {"nan": int(np.isnan(values).sum())}
    return facts


def _print_outputs(outputs, console) -> None:
    rows = []
    for name, array in outputs.items():
        facts = _facts(name, array)
        rows.append((name, f"{array.dtype.name}[{', '.join(map(str, array.shape))}]", *(_number(facts.get(k)) for k in ("min", "max", "mean")),
                     str(facts.get("nan", 0)), " ".join(f"{float(x):.4g}" for x in array.reshape(-1)[:6]) + (" ..." if array.size > 6 else "")))
    console.table(("output", "type", "min", "max", "mean", "nan", "values"), rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
