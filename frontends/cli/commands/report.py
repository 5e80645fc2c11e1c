"""lamina report: how does the whole of a compilation look, on one page?"""

from __future__ import annotations

from pathlib import Path

from ..parser import OK, add_compile_options, add_model_options

SUMMARY = "one offline HTML page of a model: its graph drawn, every stage, memory, kernels and decisions, linked by click"
EXAMPLES = """
lamina report model.onnx                            writes model.html beside the model's name, into this folder
lamina report model.onnx -o r.html --dim batch=8
lamina report model.py:forward --spec x=batch,128,f32 -o r.html
"""


def configure(parser) -> None:
    """The arguments of the command."""
    add_model_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="where to (default: the model's name with .html; - is standard output)")
    add_compile_options(parser)


def run(arguments, console) -> int:
    """Write the page. Where a stage fails it is written, too, with the error in the stage's column; the exit code is the error's."""
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
        text = page(levels, name)
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
        console.result("report", {"model": arguments.model, "file": output, "bytes": len(text.encode())})
    return OK
