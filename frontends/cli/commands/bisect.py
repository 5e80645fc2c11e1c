"""lamina bisect: which value of a model goes wrong first?"""

from __future__ import annotations

from pathlib import Path

from ..parser import FAILED, OK, add_compile_options, add_model_options

SUMMARY = "name the first wrong value of a model, and the pass or kernel to blame, without changing how it is fused"
EXAMPLES = """
lamina bisect model.onnx                                 on random inputs, against double precision
lamina bisect model.onnx -i x=@x.npy --reference onnxruntime
lamina bisect model.onnx x.npz --expect outputs.npz      against outputs from elsewhere
lamina bisect model.onnx --save case                     keeps the wrong group of operators and its numbers
lamina bisect model.onnx --json | jq .finding
"""
REFERENCES = ("f64", "interpreter", "onnxruntime")


def configure(parser) -> None:
    """The arguments of the command."""
    from ..arrays import INPUT_HELP
    add_model_options(parser)
    parser.add_argument("files", nargs="*", metavar="FILE",
                        help=".npy files in the order of the inputs, or .npz with arrays by name")
    parser.add_argument("-i", "--input", action="append", default=[], metavar="SPEC",
                        help=INPUT_HELP + " (default: rand:0)")
    parser.add_argument("--reference", choices=REFERENCES, default="f64",
                        help="what is right: the graph in double precision (f64), in its own (interpreter), or "
                             "onnxruntime")
    parser.add_argument("--expect", metavar="FILE",
                        help="what is right: a .npz with the outputs by name (.npy: the only output)")
    parser.add_argument("--save", metavar="DIR",
                        help="write what is wrong into this folder: of a kernel its operators and what it read, else all")
    add_compile_options(parser)


def run(arguments, console) -> int:
    """Compare, and search where the outputs differ: exit code 0 where they agree, 1 where a wrong value was found."""
    from dataclasses import replace

    from ....compiler.core.errors import LaminaError
    from ...bisect import bisect
    from ..arrays import gather_inputs
    from ..model import load_graph, model_options
    if arguments.target != "host":
        raise LaminaError("bisect runs the model here", hint="leave --target out")
    if arguments.reference == "onnxruntime" and not arguments.model.endswith(".onnx"):
        raise LaminaError("onnxruntime runs .onnx files alone", hint="--reference f64 or interpreter")
    graph = load_graph(arguments, console)
    feeds = gather_inputs([*arguments.input, *arguments.files], *inputs_of(graph), fill="rand:0")
    source = arguments.model if arguments.reference == "onnxruntime" else graph
    reference = expected_arrays(arguments.expect, graph) if arguments.expect else arguments.reference
    dims = dict(arguments.dim) if source is arguments.model else None
    with console.progress(f"bisecting {Path(arguments.model).name}") as tell:
        found = bisect(source, *feeds.values(), reference=reference, dims=dims, tell=tell,
                       options=replace(model_options(arguments), dump=None, check="none"))
    command = found.save(arguments.save) if arguments.save and not found.agrees else None
    if command:
        console.note(f"to see it again: {command}")
    if console.json:
        console.result("bisect", {"model": arguments.model, **found.data(), "again": command})
    else:
        console.print(str(found))
    return OK if found.agrees else FAILED


def inputs_of(graph):
    """(the inputs of `graph`, the facts of its dims), as `gather_inputs` takes them."""
    from ....compiler.core.dims import UNBOUNDED
    from ....runtime.signature import TensorSpec
    inputs = [TensorSpec(tuple(d if isinstance(d, int) else str(d) for d in p.shape), p.dtype.name, name)
              for p, name in zip(graph.params, graph.input_names)]
    return inputs, {s.name: (s.lower, None if s.upper >= UNBOUNDED else s.upper, s.multiple) for s in graph.symbols}


def expected_arrays(path: str, graph) -> dict:
    """The outputs in a file by name."""
    import numpy as np

    from ....compiler.core.errors import LaminaError
    from ..arrays import read_arrays
    found, names = read_arrays(path), graph.output_names
    if isinstance(found, np.ndarray):
        if len(names) != 1:
            raise LaminaError(f"{path} holds one array, the model gives {', '.join(names)}",
                              hint="give an .npz with arrays by name")
        return {names[0]: found}
    if not set(found) & set(names):
        raise LaminaError(f"{path} holds {', '.join(found) or 'nothing'}: none of them is an output",
                          hint=f"the outputs are {', '.join(names)}")
    return {name: array for name, array in found.items() if name in names}
