"""lamina explain: why is it compiled as it is?"""

from __future__ import annotations

import re

from ..parser import OK, add_compile_options, add_model_options

SUMMARY = "why a value, node or kernel is compiled as it is: fusion, template, schedule, layout"
EXAMPLES = """
lamina explain model.onnx                          every kernel in a line, and what fusion refused
lamina explain model.onnx k3                       a kernel: what is in it, why no more, what others would cost
lamina explain model.onnx /encoder/layer.0/Add     a node of the model, by its name or a part of it
lamina explain net.py:forward --spec x=8,64 net.py:12 tanh
lamina explain model.onnx %12 --json               a value, as `lamina ir` names it
lamina explain train.py:step --retraces            why a jitted function was traced, by the calls that its file makes
"""


def configure(parser) -> None:
    """The arguments of the command."""
    add_model_options(parser)
    parser.add_argument("what", nargs="*", metavar="WHAT",
                        help="a value (%%12, an input, an output), a node (name, line or operator), or a kernel (k3)")
    parser.add_argument("--retraces", action="store_true",
                        help="why the jitted function MODEL was traced, while its file was run")
    add_compile_options(parser)


def run(arguments, console) -> int:
    """Compile, and answer."""
    from ....compiler.core.errors import LaminaError
    from ...report.explain import Explainer
    from ...report.levels import Levels
    from ..model import load_graph, model_options
    if arguments.retraces:
        if arguments.what:
            raise LaminaError("--retraces is about the whole function",
                              hint="leave " + ", ".join(arguments.what) + " out")
        return explain_retraces(arguments.model, console)
    graph = load_graph(arguments, console)
    with console.progress("compiling") as tell:
        explainer = Explainer(Levels(graph, model_options(arguments), tell))
    answers = [explainer.explain(what) for what in arguments.what]
    data = {"answers": answers} if answers else explainer.summary()
    if console.json:
        console.result("explain", {"model": arguments.model, **data})
    elif not answers:
        print_summary(data, console)
    for answer in () if console.json else answers:
        print_answer(answer, console)
    return OK


def explain_retraces(name: str, console) -> int:
    """The reasons of a jitted function's traces."""
    from ....compiler.core.errors import LaminaError
    from ...jit import Jit
    from ..model import import_object
    path, _, attribute = name.rpartition(":")
    found = import_object(path, attribute) if ".py:" in name else None
    if not isinstance(found, Jit):
        raise LaminaError(f"{name} is no jitted function",
                          hint="--retraces takes module.py:function, decorated with lm.jit")
    reasons = found.explain_retraces()
    if console.json:
        console.result("explain", {"model": name, "retraces": reasons})
    for reason in () if console.json else reasons or ["never called while its file was run"]:
        console.print(reason)
    return OK


def print_summary(data: dict, console) -> None:
    """A row for each kernel, and the reasons of fusion."""
    console.table(("launches", "kernel", "template", "from"),
                  [(k["launches"], k["kernel"], k["template"], _some(k["lines"], 2)) for k in data["kernels"]])
    if data["refusals"]:
        console.print()
        console.table(("times", "not fused because"), [(count, reason) for reason, count in data["refusals"].items()])


def print_answer(data: dict, console) -> None:
    """The answer as indented lines."""
    out = console.print
    if data["kind"] == "value":
        made = data["made_by"]
        out(f"{data['asked']}: {data['text']}, " + (f"made by {_node(made)}" if made else "an input of the model"))
        out("used by " + (_some([_node(n) for n in data["used_by"]], 6) if data["used_by"]
                          else "nothing but the model's caller"))
    elif data["kind"] == "node":
        for node in data["nodes"][:8]:
            out(f"{_node(node)} -> {', '.join(node['results'])}")
        if len(data["nodes"]) > 8:
            out(f"and {len(data['nodes']) - 8} more")
    if data.get("note"):
        out(data["note"])
    for kernel in data["kernels"]:
        print_kernel(kernel, out, console.bold)
    if data["more"]:
        out(f"\nand {data['more']} more kernels")


def print_kernel(kernel: dict, out, bold) -> None:
    """What is known of a kernel."""
    times = "" if kernel["launches"] == 1 else f", launched {kernel['launches']} times"
    out()
    out(bold(f"kernel {kernel['kernel']}{times}"))
    out(f"  computes   {', '.join(kernel['ops'])}: {kernel['flops']} operations on {kernel['bytes']} bytes")
    out(f"  from       {_some(kernel['lines'], 6)}")
    out(f"  template   {kernel['template']}")
    for title, facts in (("schedule", kernel["schedule"]), ("tile", _tiles(kernel["tiles"])),
                         ("reads", [p["place"] for p in kernel["places"] if p["role"] in ("in", "constant")]),
                         ("writes", [p["place"] for p in kernel["places"] if p["role"] not in ("in", "constant")]),
                         ("because", [f"{reason} [{stage}]" for stage, reason in
                                      dict.fromkeys((r["stage"], r["reason"]) for r in kernel["decisions"])]),
                         ("not fused", _refusals(kernel["not_fused"]))):
        for i, fact in enumerate(facts):
            out(f"  {title if i == 0 else '':<9}  {fact}")


def _refusals(remarks: list[dict]) -> list[str]:
    """The pairs that were not fused; those that differ in their places alone are one line."""
    alike: dict[tuple[str, str], list[str]] = {}
    for remark in remarks:
        alike.setdefault((re.sub(r" \(.*?\)(?= with |$)", "", remark["subject"]), remark["reason"]),
                         []).append(remark["subject"])
    return [f"{subjects[0] if len(subjects) == 1 else f'{len(subjects)} times {pair}'}: {reason}"
            for (pair, reason), subjects in alike.items()]


def _tiles(tiles: list[dict]) -> list[str]:
    """The tile that was taken, and the estimated cost of others."""
    if not tiles:
        return []
    taken, *others = tiles
    lines = [f"{taken['rows']} x {taken['columns']}: an estimated {taken['cycles']:.3g} cycles of one core"]
    return lines + [f"{t['rows']} x {t['columns']} would take {t['relative']:.2f} times as many" for t in others]


def _node(node: dict) -> str:
    return node["op"] + (f" ({node['location']})" if node["location"] else "")


def _some(items: list[str], limit: int) -> str:
    """The first of several items, and how many there are more."""
    return ", ".join(items[:limit]) + (f" and {len(items) - limit} more" if len(items) > limit else "")
