"""lamina check: can lamina compile this model, and is the result right?"""

from __future__ import annotations

from dataclasses import dataclass

from ..parser import FAILED, OK, add_compile_options, add_model_options

SUMMARY = "whether lamina can compile a model: every obstacle at once, or ok"
EXAMPLES = """
lamina check model.onnx
lamina check model.onnx --expect ref.npz              compile, run on the inputs in ref.npz, compare with its outputs
lamina check model.onnx --expect out.npz -i x=@x.npy  inputs from elsewhere
lamina check model.onnx --json | jq .error.problems   what is not supported, for a program
"""


@dataclass(frozen=True)
class Problem:
    """An operator of the graph that has no native code: what it is, where it comes from, and why."""

    op: str
    node: str
    reason: str


def configure(parser) -> None:
    """The arguments of the command."""
    from ..comparison import add_tolerance_options
    add_model_options(parser)
    parser.add_argument("-i", "--input", action="append", default=[], metavar="SPEC", help="an input for --expect (see lamina run)")
    parser.add_argument("--expect", metavar="FILE", help="a .npz with the expected outputs, and inputs, by name (.npy: the only output)")
    add_tolerance_options(parser)
    add_compile_options(parser)


def run(arguments, console) -> int:
    """Import, compile, and with --expect run and compare. Unsupported models raise UnsupportedError with every problem."""
    from ....compiler.core.errors import LaminaError, UnsupportedError
    from ..model import compile_model, load_graph
    if arguments.input and not arguments.expect:
        raise LaminaError("-i is for --expect", hint="lamina run runs a model without comparing")
    if arguments.model.endswith(".lam"):
        return finish(None, arguments, console)
    try:
        artifact = compile_model(arguments, console)
    except UnsupportedError as error:
        problems = () if error.problems else find_problems(load_graph(arguments, console), arguments)
        if not problems:
            raise
        raise UnsupportedError(f"{arguments.model}: {len(problems)} operators have no native code\n{table(problems)}", problems=problems) \
            from error
    return finish(artifact, arguments, console)


def finish(artifact, arguments, console) -> int:
    """Compare the compiled model with its reference, where there is one, and say the verdict."""
    from ....runtime.executable import Executable
    from ..model import load_executable
    matches = []
    if arguments.expect or artifact is None:
        executable = Executable(artifact) if artifact is not None else load_executable(arguments, console)
        matches = expected_matches(executable, arguments) if arguments.expect else []
        manifest = executable.artifact.manifest
    else:
        manifest = artifact.manifest
    passed = all(m.passed for m in matches)
    if console.json:
        console.result("check", {"model": arguments.model, "ok": passed, "kernels": manifest["cost"]["kernels"],
                                 "launches": manifest["cost"]["launches"], "outputs": [m.data() for m in matches]})
        return OK if passed else FAILED
    if matches:
        from ..comparison import print_matches
        print_matches(matches, arguments.rtol, arguments.atol, console)
    if passed:
        cost = manifest["cost"]
        console.print(f"ok: {arguments.model} compiles to {count(cost['kernels'], 'kernel')} in {count(cost['launches'], 'launch')}"
                      + (" and gives what was expected" if matches else ""))
    return OK if passed else FAILED


def expected_matches(executable, arguments) -> list:
    """Run on the inputs of -i and of the reference file; a Match for each expected output."""
    from ..arrays import gather_inputs, read_arrays
    from ..comparison import compare
    import numpy as np
    expected = read_arrays(arguments.expect)
    known = {} if isinstance(expected, np.ndarray) else expected
    feeds = gather_inputs(arguments.input, executable.inputs, executable.signature.symbols, known=known)
    outputs = executable.run(feeds)
    if not isinstance(expected, np.ndarray):
        expected = {name: a for name, a in expected.items() if name not in feeds or name in outputs}
    return compare(outputs, expected, arguments.rtol, arguments.atol)


def find_problems(graph, arguments) -> tuple[Problem, ...]:
    """Every group of the compiled graph that has no native code, found by lowering each on its own."""
    from ....compiler.core.errors import LaminaError, UnsupportedError
    from ....compiler.graph.graph import walk
    from ....compiler.kernel.ir import Buffer, row_major
    from ....compiler.lower.group import lower_group
    from ....compiler.ops.control import Fused
    from ...report.levels import Levels
    from ..model import model_options
    levels = Levels(graph, model_options(arguments))
    found: dict[Problem, None] = {}
    for node in walk(list(levels.passes.values())[-1]) if levels.passes else ():
        if not isinstance(node.op, Fused):
            continue

        def buffers(values, role: str) -> list:
            return [Buffer(f"{role}{i}", v.dtype, v.shape, row_major(v.shape), role) for i, v in enumerate(values)]
        try:
            lower_group(node.op.kind, node.op.body, buffers(node.operands, "in"), buffers(node.results, "out"),
                        levels.target, "check", node.op.schedule)
        except UnsupportedError as error:
            found[Problem(node.op.label or node.op.kind, str(node.location), error.message)] = None
        except LaminaError:
            continue  # the compilation itself did not stumble over this one
    return tuple(found)


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 launch, 2 launches."""
    return f"{number} {noun}" + ("" if number == 1 else "es" if noun.endswith("ch") else "s")


def table(problems) -> str:
    """The problems as lines of a message."""
    rows = [("operator", "from", "reason"), *((p.op, p.node, p.reason) for p in problems)]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return "\n".join("  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[2]]) for row in rows)
