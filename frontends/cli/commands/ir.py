"""lamina ir: what does the model look like inside the compiler?"""

from __future__ import annotations

from pathlib import Path

from ..parser import OK, add_compile_options, add_model_options

SUMMARY = "the model at any stage of the compilation, as text, JSON, DOT or a page with all stages"
EXAMPLES = """
lamina ir model.onnx                                  the graph as it was imported
lamina ir model.onnx --stage fused                    which operators share a kernel
lamina ir model.onnx --stage asm | less               the machine code
lamina ir model.onnx --format html -o model.html      every stage side by side; click a value to follow it
lamina ir model.onnx --after canonicalize --format dot | dot -Tsvg > model.svg
lamina ir model.onnx --dump stages/                   all of it as files; each graph is a MODEL again
"""
STAGES = ("traced", "canonical", "fused", "kernels", "program", "llvm", "asm")


def configure(parser) -> None:
    """The arguments of the command."""
    add_model_options(parser)
    parser.add_argument("--stage", choices=STAGES, help="the stage to show (default traced)")
    parser.add_argument("--after", metavar="PASS", help="the graph after this pass (a wrong name lists them)")
    parser.add_argument("--format", choices=("text", "json", "dot", "html"), help="text is the default; -o FILE.html, .json or .dot chooses too")
    parser.add_argument("-o", "--output", default="-", metavar="FILE", help="where to (default -, standard output)")
    add_compile_options(parser)


def run(arguments, console) -> int:
    """Print or write a stage; with --dump alone write all of them."""
    from dataclasses import replace

    from ....compiler.core.errors import LaminaError
    from ...report.levels import Levels
    from ..arrays import write_file
    from ...cached import compile_cached
    from ..model import load_graph, model_options
    form = arguments.format or ("json" if console.json else _form_of(arguments.output))
    if arguments.stage and arguments.after:
        raise LaminaError("--stage and --after exclude each other", hint="a stage is a place in the compilation, so is a pass")
    graph = load_graph(arguments, console)
    options = model_options(arguments)
    if arguments.dump:
        with console.progress(f"dumping {Path(arguments.model).name}") as tell:
            compile_cached(graph, options=options, cache=None, progress=tell)
        files = sorted(path.name for path in Path(arguments.dump).iterdir())
        console.note(f"{len(files)} files in {arguments.dump}")
        if not (arguments.stage or arguments.after or arguments.format or arguments.output != "-"):
            if console.json:
                console.result("ir", {"folder": arguments.dump, "files": files})
            return OK
    with console.progress(f"compiling {Path(arguments.model).name}") as tell:
        text = render(Levels(graph, replace(options, dump=None), tell), arguments.stage or "traced", arguments.after, form, arguments.model)
    if arguments.output == "-":
        console.print(text.rstrip("\n"))
    else:
        write_file(arguments.output, text)
        console.note(f"{arguments.output}: {len(text)} characters")
    return OK


def _form_of(output: str) -> str:
    return next((form for suffix, form in ((".html", "html"), (".json", "json"), (".dot", "dot"), (".gv", "dot")) if output.endswith(suffix)), "text")


def render(levels, stage: str, after: str | None, form: str, model: str) -> str:
    """A stage, or the graph after a pass, in one of the formats. HTML is always the page of all stages."""
    import json

    from ....compiler.core.errors import LaminaError
    from ...report import dot, html
    from ...report.json import graph_data
    from ...report.levels import GRAPHS
    from ..console import SCHEMA
    if form == "html":
        return html.page(levels, model)
    graph = levels.after(after) if after else levels.graph(stage) if stage in GRAPHS else None
    if form == "dot":
        if graph is None:
            raise LaminaError(f"the stage {stage!r} is no graph, so it has no DOT form", hint=f"--stage {', '.join(GRAPHS)}, or --after PASS")
        return dot.graph_dot(graph)
    if form == "json":
        content = {"graph": graph_data(graph)} if graph is not None else \
            {"sections": [{"name": name, "text": text} for name, text in levels.sections(stage)]}
        place = {"after": after} if after else {"stage": stage}
        return json.dumps({"schema": SCHEMA, "command": "ir", "model": model, **place, **content}, indent=1) + "\n"
    return str(graph) if graph is not None else levels.text(stage)
