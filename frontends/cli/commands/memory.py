"""lamina memory: what takes memory, and when?"""

from __future__ import annotations

from ..parser import OK, add_compile_options, add_model_options

SUMMARY = "what takes memory, and when: live ranges over the steps, and who owns the peak"
EXAMPLES = """
lamina memory model.onnx
lamina memory model.onnx --dim batch=32 --svg arena.svg    a drawing: offsets over time, with tooltips
lamina memory model.lam --top 0                            every slot
lamina memory model.onnx --json | jq '.owners[0]'          the largest of what is live at the peak
"""
MARGIN = 54  # columns of a terminal beside the bars


def configure(parser) -> None:
    """The arguments of the command."""
    add_model_options(parser)
    parser.add_argument("--svg", metavar="FILE", help="write the drawing of the arena (- for standard output)")
    parser.add_argument("--top", type=int, default=40, metavar="N", help="the N largest slots (default 40; 0: all)")
    add_compile_options(parser)


def run(arguments, console) -> int:
    """Compile, and draw the memory plan; nothing runs."""
    from ....runtime.memory import MemoryReport
    from ..arrays import write_file
    from ..model import load_manifest
    memory = MemoryReport(load_manifest(arguments, console))
    if arguments.svg and arguments.svg != "-":
        write_file(arguments.svg, memory.svg())
        console.note(f"{arguments.svg}: {len(memory.slots)} slots")
    if console.json:
        console.result("memory", {"model": arguments.model, **memory_data(memory)})
    elif arguments.svg == "-":
        console.print(memory.svg().rstrip("\n"))
    elif console.is_terminal:
        draw(memory, arguments.top or None)
    else:
        console.print(memory.text(limit=arguments.top or None))
    return OK


def memory_data(memory) -> dict:
    """The report as JSON data, in bytes."""
    return {name: getattr(memory, name) for name in ("arena_bytes", "lower_bound", "peak_step", "weight_bytes",
                                                     "input_bytes",
                                                     "output_bytes", "slots", "owners")}


def draw(memory, limit: int | None) -> None:
    """`memory.text` in colors, as wide as the terminal: what is live at the peak stands out."""
    import sys

    from rich.console import Console
    from rich.text import Text
    terminal = Console(file=sys.stdout, highlight=False)
    columns = max(20, terminal.width - MARGIN)
    for line in memory.text(columns, limit).splitlines():
        text = Text(line, no_wrap=True, overflow="ellipsis")
        text.highlight_regex("·+", "dim")
        text.highlight_regex(r"(?<=\* )[█·]+$", "bold red")
        text.highlight_regex("[▁▂▃▄▅▆▇█]+$", "red" if "* " in line else "cyan")
        text.highlight_regex("▼.*", "bold")
        terminal.print(text)
