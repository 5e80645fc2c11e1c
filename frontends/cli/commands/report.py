"""lamina report: how does the whole of a compilation look, on one page?"""

from __future__ import annotations

from pathlib import Path

from ..parser import OK, add_compile_options, add_model_options

SUMMARY = "one offline HTML page of a model: its graph, every stage, memory, time and decisions, linked by click"
EXAMPLES = """
lamina report model.onnx                            measures it, and writes model.html into this folder
lamina report model.onnx -o r.html --dim batch=8 -i x=@x.npy
lamina report model.onnx --no-profile               nothing is run
lamina report model.py:forward --spec x=batch,128,f32 -o r.html
"""


def configure(parser) -> None:
    """The arguments of the command."""
    add_model_options(parser)
    parser.add_argument("-i", "--input", action="append", default=[], metavar="SPEC",
                        help="an input to measure with (see lamina run); others are random")
    parser.add_argument("--no-profile", action="store_true", help="don't measure: operations and bytes without times")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="where to (default: the model's name with .html; - is standard output)")
    add_compile_options(parser)


def run(arguments, console) -> int:
    """Write the page. Where a stage fails it is written, too, with the error in the stage's column; the exit code is
    the error's."""
    from dataclasses import replace

    from ...report.html import page
    from ...report.levels import Levels
    from ..arrays import write_file
    from ..model import load_graph, model_options
    name = Path(arguments.model.rpartition(":")[2] if ".py:" in arguments.model else arguments.model).name
    output = arguments.output or f"{Path(name).stem if arguments.model != '-' else 'model'}.html"
    graph = load_graph(arguments, console)
    with console.progress(f"compiling {name}") as tell:
        levels = Levels(graph, replace(model_options(arguments), dump=None), tell)
        profile = None if arguments.no_profile else measure(levels, arguments, console, tell)
        text = page(levels, name, profile)
    if output == "-":
        console.print(text.rstrip("\n"))
        return OK
    write_file(output, text)
    console.note(f"{output}: {len(text.encode()):,} bytes; open it in a browser")
    try:
        levels.assembly
    except Exception as error:
        from ..main import report
        return report(error, arguments, ["report", arguments.model], console)
    if console.json:
        console.result("report", {"model": arguments.model, "file": output, "bytes": len(text.encode()),
                                  "launches_measured": 0 if profile is None else len(profile.rows)})
    return OK


def measure(levels, arguments, console, tell):
    """The Profile of the program on this machine; None where it does not compile, or is for another machine."""
    from ....compiler.core.errors import LaminaError
    from ....compiler.driver import compile_program
    from ....runtime.cpu_features import check_target
    from ....runtime.executable import Executable
    from ...compile import measure_roofline
    from ..arrays import gather_inputs
    try:
        artifact = compile_program(levels.program, levels.target)
        check_target(artifact.manifest["target"], artifact.manifest["name"])
    except Exception as error:  # the page is for looking at failures, too
        console.detail(f"not measured: {error}")
        return None
    executable = Executable(artifact, measure_roofline)
    feeds = gather_inputs(arguments.input, executable.inputs, executable.signature.symbols, fill="rand:0")
    tell("the machine", 0, 0)
    roofline = measure_roofline(0)
    tell("the model", 0, 0)
    try:
        return executable.profile(*feeds.values(), roofline=roofline)
    except LaminaError as error:
        console.error(f"not measured: {error}")
        return None
