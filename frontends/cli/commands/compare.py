"""lamina compare: what is different between two models, options or versions?"""

from __future__ import annotations

from collections import Counter

from ..parser import FAILED, OK, add_compile_options, add_model_options

SUMMARY = "two models, two sets of options or two artifacts: graph, kernels, numbers, time, memory, size"
EXAMPLES = """
lamina compare old.onnx new.onnx
lamina compare model.onnx --options-b fuse=false         one model, compiled in two ways
lamina compare yesterday.lam today.lam --min-time 5      two versions of lamina, say
lamina compare model.onnx model.lam --json | jq .ratio
"""
SHOWN = 12  # nodes that differ


def configure(parser) -> None:
    """The arguments of the command."""
    from ..comparison import add_tolerance_options
    add_model_options(parser)
    parser.add_argument("what", nargs="*", metavar="B",
                        help="the other model; without one MODEL is compared with itself by --options-b")
    for side in "ab":
        parser.add_argument(f"--options-{side}", action="append", default=[], metavar="NAME=VALUE",
                            help=f"a compile option of {'MODEL' if side == 'a' else 'B'} alone, such as fuse=false")
    parser.add_argument("-i", "--input", action="append", default=[], metavar="SPEC",
                        help="an input (see lamina run); others are random")
    parser.add_argument("--threads", type=int, default=0, metavar="N",
                        help="at most N threads (default: as many as this process may use)")
    parser.add_argument("--min-time", type=float, default=1.0, metavar="SECONDS",
                        help="measure each for this long (default 1; 0: don't)")
    add_tolerance_options(parser)
    add_compile_options(parser)


def run(arguments, console) -> int:
    """Compile both, compare what can be compared. 1 where outputs differ by more than the tolerances."""
    from ....compiler.core.errors import LaminaError
    from ..arrays import gather_inputs
    if len(arguments.what) > 1:
        raise LaminaError(f"{len(arguments.what) + 1} models were given", hint="compare two")
    if not arguments.what and not (arguments.options_a or arguments.options_b):
        raise LaminaError(f"{arguments.model} is to be compared with what?",
                          hint="a second model, or --options-b fuse=false")
    a = Side("a", arguments.model, arguments.options_a, arguments, console)
    b = Side("b", (*arguments.what, arguments.model)[0], arguments.options_b, arguments, console)
    feeds = gather_inputs(arguments.input, a.executable.inputs, a.executable.signature.symbols, fill="rand:0")
    if len(b.executable.inputs) != len(feeds):
        raise LaminaError(f"{a.model} takes {len(feeds)} inputs, {b.model} {len(b.executable.inputs)}",
                          hint="models of the same arguments compare")
    arrays = list(feeds.values())
    data = {"inputs": {n: f"{x.dtype.name}{list(x.shape)}" for n, x in feeds.items()}, "a": a.facts(), "b": b.facts(),
            "graph": graph_difference(a, b), "kernels": kernel_difference(a, b),
            "outputs": output_differences(a, b, arrays, arguments),
            "time": time_ratio(a, b, arrays, arguments) if arguments.min_time > 0 else None}
    same = all(m["passed"] for m in data["outputs"])
    if console.json:
        console.result("compare", {"ok": same, **data})
    else:
        show(data, arguments, console)
    return OK if same else FAILED


class Side:
    """One of the two: its executable, and its graph after canonicalization where it is no artifact."""

    def __init__(self, name: str, model: str, options: list[str], arguments, console):
        from ....compiler.core.errors import LaminaError
        from ...report.levels import Levels
        from ..model import arguments_for, load_executable, load_graph, model_options
        self.model, self.options = model, options
        is_artifact = model.endswith(".lam")
        if is_artifact and options:
            raise LaminaError(f"{model} is compiled already", hint=f"leave --options-{name} out")
        own = arguments_for(arguments, model, options)
        self.executable = load_executable(own, console)
        self.graph = None if is_artifact else Levels(load_graph(own, console), model_options(own)).graph("canonical")

    def facts(self) -> dict:
        """Kernels, memory and size; in bytes."""
        artifact = self.executable.artifact
        cost, memory = artifact.manifest["cost"], artifact.manifest["memory"]
        return {"model": self.model, "options": self.options, "kernels": cost["kernels"], "launches": cost["launches"],
                "flops": cost["flops"],
                "arena_bytes": memory["arena_bytes"], "lower_bound": memory["lower_bound"],
                "weight_bytes": cost["weight_bytes"],
                "code_bytes": sum(map(len, artifact.objects.values()))}


def graph_difference(a: Side, b: Side) -> dict | None:
    """What one graph has and the other has not; None where one is an artifact, which has no graph."""
    from ...report.difference import compare_graphs
    if a.graph is None or b.graph is None:
        return None
    found = compare_graphs(a.graph, b.graph)

    def listed(nodes) -> list[dict]:
        return [{"op": n.op.name, "results": [str(r.type) for r in n.results], "location": str(n.location)}
                for n in nodes]
    return {"same": found.is_same, "ops": {op: list(counts) for op, counts in found.ops.items()},
            "removed": listed(found.removed),
            "added": listed(found.added)}


def kernel_difference(a: Side, b: Side) -> dict:
    """Launches that one has more of than the other, by what they fuse."""
    counts = [Counter(launch["label"] for launch in side.executable.kernels) for side in (a, b)]
    return {"removed": dict(counts[0] - counts[1]), "added": dict(counts[1] - counts[0])}


def output_differences(a: Side, b: Side, arrays: list, arguments) -> list[dict]:
    """For each output the largest difference, absolute and as a share of the largest magnitude in A, and whether it is
    within the tolerances. Outputs correspond by name, or by position where their names differ."""
    import numpy as np

    from ....compiler.core.errors import LaminaError
    from ..comparison import compare
    names = [port.name for port in a.executable.outputs]
    others = [port.name for port in b.executable.outputs]
    if len(names) != len(others):
        raise LaminaError(f"{a.model} has {len(names)} outputs, {b.model} {len(others)}",
                          hint="models of the same results compare")
    expected, found = (dict(zip(keys, side.executable(*arrays, threads=arguments.threads))) for keys, side in
                       ((names, a), (others if set(names) == set(others) else names, b)))
    rows = []
    for match in compare(found, expected, arguments.rtol, arguments.atol):
        size = np.abs(np.nan_to_num(expected[match.name].astype(np.float64), posinf=0, neginf=0)).max(initial=0.0)
        rows.append(match.data() | {"relative_difference": match.largest_difference / size if size else None})
    return rows


def time_ratio(a: Side, b: Side, arrays: list, arguments) -> dict:
    """Both in turns: medians, and how many times as long B takes, with bounds."""
    from ..timing import measure, ratio_interval, summarize
    samples = measure({name: lambda side=side: side.executable(*arrays, threads=arguments.threads) for name,
                       side in (("a", a), ("b", b))},
                      arguments.min_time)
    return {name: summarize(s.times) for name, s in samples.items()} | {"ratio": vars(ratio_interval(samples["b"],
                                                                                                     samples["a"], 0.5,
                                                                                                     True))}


def show(data: dict, arguments, console) -> None:
    """The comparison as tables."""
    from ..console import format_seconds
    a, b, graph, time = data["a"], data["b"], data["graph"], data["time"]
    rows = [(key.replace("_", " "), a[key], b[key], "" if a[key] == b[key] else f"{b[key] / a[key]:.3g}x" if a[key]
             else "")
            for key in a if key not in ("model", "options")]
    if time is not None:
        interval = time["ratio"]
        rows.append(("time, median", format_seconds(time["a"]["median"]), format_seconds(time["b"]["median"]),
                     f"{interval['estimate']:.3g}x, {interval['low']:.3g} to {interval['high']:.3g} "
                     "with 95 % confidence"))
    console.table(("", *(" ".join([side["model"], *side["options"]]) for side in (a, b)), "B over A"), rows)
    console.print()
    show_graph(graph, console)
    for word, sign in (("removed", "-"), ("added", "+")):
        for label, count in data["kernels"][word].items():
            console.print(f"{sign} {count} launch{'es' * (count > 1)} of {label}")
    if not (data["kernels"]["removed"] or data["kernels"]["added"]):
        console.print("kernels: the same")
    console.print()
    console.table(("output", "result", "elements", "outside", "largest difference", "of the largest value"),
                  [(m["name"], "ok" if m["passed"] else "differs", m["elements"], m["mismatches"],
                    f"{m['largest_difference']:.3g}"
                    if m["largest_difference"] is not None else "-", f"{m['relative_difference']:.2g}"
                    if m["relative_difference"] is not None
                    else "-") for m in data["outputs"]])
    for m in data["outputs"]:
        if not m["passed"]:
            console.error(f"{m['name']} differs at --rtol {arguments.rtol:g} --atol {arguments.atol:g}"
                          + (f": {m['remark']}" if m["remark"] else ""))


def show_graph(graph: dict | None, console) -> None:
    """Where the graphs differ."""
    if graph is None or graph["same"]:
        console.print("graphs: " + ("an artifact has none" if graph is None else "the same"))
        return
    for op, (before, after) in graph["ops"].items():
        console.print(f"operator {op}: {before} in A, {after} in B")
    for word, sign in (("removed", "-"), ("added", "+")):
        nodes = graph[word]
        for node in nodes[:SHOWN]:
            console.print(f"{sign} {node['op']} -> {', '.join(node['results'])}  {node['location']}".rstrip())
        if len(nodes) > SHOWN:
            console.print(f"{sign} and {len(nodes) - SHOWN} more")
