"""Which value of a model goes wrong first, and what makes it so?

The outputs are compared with the reference. Where they differ, halving finds the first pass whose graph computes something else; where
every graph is right, the compiled program runs launch by launch, and each kernel is held against the operators of its group on the very
numbers that it read: what came before can't hide it, and neither fusion nor schedule change.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Mapping, Sequence

import numpy as np

from ...compiler.check import Expected, disturbed, expect
from ...compiler.core.dims import evaluate
from ...compiler.core.errors import LaminaError
from ...compiler.core.options import Options
from ...compiler.graph.graph import Graph, Node
from ...compiler.graph.interpret import bind_extents, interpret
from ...compiler.kernel.interpret import run as run_kernel
from ...compiler.ops.control import graph_at_extents, graph_flops
from ...compiler.plan.program import Launch
from ..report.labels import label_values
from ..report.levels import Levels
from .finding import Bisection, Difference, Finding, difference, largest_ulps
from .shadow import shadow
from .stepper import Stepper, lay_out, stretch

DISTURBED_RUNS = 3
MOST_ELEMENTS = 10 ** 6  # of the places of a launch, and
MOST_LOOPED = 10 ** 7  # of its operations, that the kernel interpreter, which runs one scalar at a time, is asked for
REFERENCES = ("f64", "interpreter")


class Search:
    """One bisection of `graph` on `arrays`. `tell(what, done, total)` is told how far it is."""

    def __init__(self, graph: Graph, arrays: Sequence[np.ndarray], options: Options, tell=lambda what, done, total: None):
        self.graph, self.options, self.tell = graph, options, tell
        self.arrays = [np.ascontiguousarray(a, p.type.dtype.numpy).reshape(np.shape(a)) for a, p in zip(arrays, graph.params)]
        self.extents = bind_extents(graph, [a.shape for a in self.arrays])
        self.levels = Levels(graph, options, tell)

    def run(self, reference: str, given: Mapping[str, np.ndarray] | None = None) -> Bisection:
        """Compare with `reference`: "f64", "interpreter", or the name of who computed the outputs that are `given` by name."""
        if self.levels.error is not None:
            raise self.levels.error
        names = self.graph.output_names
        self.tell("reference", 0, 0)
        own = interpret(self.graph, self.arrays) if reference == "interpreter" else self.narrow(shadow(self.graph, self.arrays))
        wanted = [np.asarray(given.get(name, array)) for name, array in zip(names, own)] if given is not None else own
        for name, array, result in zip(names, wanted, own):
            if array.shape != result.shape:
                raise LaminaError(f"output {name!r} of the reference has shape {array.shape}, the model's has {result.shape}")
        stepper = Stepper(self.levels)
        self.tell("compiled program", 0, 0)
        got = stepper.executable(*self.arrays)
        far = tuple(map(largest_ulps, wanted, got))

        def result(finding: Finding | None, *remarks: str) -> Bisection:
            return Bisection(finding is None, reference, names, far, finding, remarks)
        if _agree(list(map(expect, names, wanted)), got):
            return result(None)
        noisy = self.with_noise(names, own)
        self.expected = [replace(e, array=array) for e, array in zip(noisy, wanted)]
        if given is not None and not _agree(self.expected, own):
            return result(self.difference_of_reference(own))
        if _agree(self.expected, got):
            return result(None, "the outputs differ by more than a rounding or two, but no more than roundings inside of the model explain: "
                                "it amplifies them")
        self.expected = noisy
        return result(self.first_pass() or self.first_kernel(stepper) or self.around_kernels(stepper, got))

    def narrow(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            return [a.astype(r.dtype.numpy, copy=False) for a, r in zip(arrays, self.graph.results)]

    def with_noise(self, names: Sequence[str], own: Sequence[np.ndarray]) -> list[Expected]:
        """The outputs with how far roundings inside of the model can move them."""
        spread = []
        for seed in range(DISTURBED_RUNS):
            self.tell("roundings", seed, DISTURBED_RUNS)
            with np.errstate(all="ignore"):
                spread.append(disturbed(self.graph, self.arrays, self.extents, seed))
        return [expect(name, array, [other[i] for other in spread]) for i, (name, array) in enumerate(zip(names, own))]

    def difference_of_reference(self, own: Sequence[np.ndarray]) -> Finding:
        """The graph itself computes something else: the first output that it does."""
        i = next(i for i, (e, o) in enumerate(zip(self.expected, own)) if e.wrong(o).any())
        value = self.graph.results[i]
        return Finding("reference", "", f"output {self.graph.output_names[i]}: {value.type}", value.op.name if value.op else "parameter",
                       str(value.node.location) if value.node else "", difference(self.expected[i].array, own[i], self.expected[i].wrong(own[i])))

    # ---- passes ---------------------------------------------------------------------------------------------------------
    def first_pass(self) -> Finding | None:
        """The pass that changes a number, found by halving; None where the last graph is right."""
        names, graphs = list(self.levels.passes), [self.graph, *self.levels.passes.values()]

        def is_wrong(number: int) -> bool:
            self.tell(f"after {names[number - 1]}", 0, 0)
            return not _agree(self.expected, self.narrow(shadow(graphs[number], self.arrays)))
        right, wrong = 0, len(names)
        if not wrong or not is_wrong(wrong):
            return None
        while wrong - right > 1:
            middle = (right + wrong) // 2
            right, wrong = (right, middle) if is_wrong(middle) else (middle, wrong)
        return self.value_of_pass(names[wrong - 1], graphs[right], graphs[wrong])

    def value_of_pass(self, name: str, before: Graph, after: Graph) -> Finding:
        """The first value behind the pass that differs from the one of the same operator, origin and size before it. They are compared
        sorted, for passes transpose and reshape."""
        known: dict[tuple, list[np.ndarray]] = {}

        def key(node: Node, array: np.ndarray) -> tuple:
            return node.op.name, str(node.location), array.size
        shadow(before, self.arrays, watch=lambda node, results: [known.setdefault(key(node, r), []).append(r) for r in results])
        labels = _all_labels(after)
        found: list[Finding] = []

        def watch(node: Node, results: Sequence[np.ndarray]) -> None:
            for value, result in zip(node.results, results):
                others = known.get(key(node, result), ())
                if found or not others:
                    continue
                sortings = [(other, expect("", np.sort(other, axis=None))) for other in others]
                if any(not e.wrong(np.sort(result, axis=None)).any() for _, e in sortings):
                    continue
                other, sorted_other = sortings[0]
                is_same = other.shape == result.shape
                e, r = (expect("", other), result) if is_same else (sorted_other, np.sort(result, axis=None))
                narrow = r.astype(value.type.dtype.numpy)
                found.append(Finding("pass", name, f"{labels.get(value, 'value')}: {value.type}", node.op.name, str(node.location),
                                     difference(e.array, narrow, e.wrong(r)), notes=() if is_same else ("elements are compared sorted",)))
        outputs = self.narrow(shadow(after, self.arrays, watch=watch))
        if found:
            return found[0]
        i = next(i for i, (e, o) in enumerate(zip(self.expected, outputs)) if e.wrong(o).any())
        value = after.results[i]
        return Finding("pass", name, f"output {after.output_names[i]}: {value.type}", value.op.name if value.op else "parameter",
                       str(value.node.location) if value.node else "",
                       difference(self.expected[i].array, outputs[i], self.expected[i].wrong(outputs[i])))

    # ---- kernels --------------------------------------------------------------------------------------------------------
    def first_kernel(self, stepper: Stepper) -> Finding | None:
        """The first launch that writes what the operators of its group don't give for what it read."""
        found = self.first_launch(stepper, apart=False)
        if found is None:
            return None
        number, launch, node, reads, writes, extents, result, wrong = found
        elsewhere = self.first_launch(stepper, apart=True)
        if elsewhere is None or elsewhere[0] > number:
            kernel = self.levels.program.kernels[launch.kernel].name
            return Finding("memory", kernel, self.labelled(node, result, launch), launch.label, str(launch.location or ""), wrong, number + 1,
                           ("where no two slots share memory it is right",))
        return self.kernel_finding(*found)

    def first_launch(self, stepper: Stepper, apart: bool) -> tuple | None:
        """(number, launch, group, what it read and wrote, extents, result, difference) of the first launch that is wrong."""
        groups = {id(launch): node for launch, node in self.levels.launches}
        found: list[tuple] = []

        def watch(number: int, launch: Launch, reads: list[np.ndarray]):
            if found:
                return None
            self.tell("launches", number, len(self.levels.launches))
            node = groups[id(launch)]

            def behind(writes: list[np.ndarray], extents: Mapping[str, int]) -> None:
                wrong = self.wrong_result(launch, node, reads, writes, extents)
                if wrong is not None:
                    found.append((number, launch, node, reads, writes, dict(extents), *wrong))
            return behind
        stepper.run(self.arrays, watch, apart)
        return found[0] if found else None

    def wrong_result(self, launch: Launch, node: Node | None, reads, writes, extents) -> tuple[int, Difference] | None:
        """The first result of a launch that is wrong, and how."""
        if node is None:
            wanted = self.interpreted(launch, reads, extents)
        else:
            wanted = [w.astype(g.dtype, copy=False) for w, g in zip(shadow(node.op.body, reads, extents), writes)]
        if wanted is None or _agree([expect("", w) for w in wanted], writes):
            return None
        spread = []
        if node is not None:
            with np.errstate(all="ignore"):
                spread = [disturbed(node.op.body, reads, extents, seed) for seed in range(DISTURBED_RUNS)]
        for i, (want, got) in enumerate(zip(wanted, writes)):
            wrong = expect("", want, [other[i] for other in spread]).wrong(got)
            if wrong.any():
                return i, difference(want, got, wrong)
        return None

    def interpreted(self, launch: Launch, reads, extents) -> list[np.ndarray] | None:
        """What the kernel's own loops give for what it read; None where they are too long for their interpreter."""
        kernel = self.levels.program.kernels[launch.kernel]
        params = [(p, b) for p, b in zip(launch.places, kernel.params) if b.role != "workspace"]
        if sum(stretch(p, extents)[1] for p, _ in params) > MOST_ELEMENTS:
            return None
        read = iter(reads)
        memory = {b.name: lay_out(next(read) if b.role in ("in", "constant", "inout") else None, p, extents) for p, b in params}
        run_kernel(kernel, {name: array for name, (array, _, _) in memory.items()}, extents,
                   origins={name: first for name, (_, first, _) in memory.items()})
        return [memory[b.name][2] for _, b in params if b.role in ("out", "inout")]

    def kernel_finding(self, number: int, launch: Launch, node: Node | None, reads, writes, extents, result: int, wrong: Difference) -> Finding:
        kernel = self.levels.program.kernels[launch.kernel]
        if node is None:
            return Finding("kernel", kernel.name, launch.label, launch.label, str(launch.location or ""), wrong, number + 1)
        inner = node.op.body.results[result]
        operators = [n.op.name for n in node.op.body.nodes if n.op.name != "constant"]
        what = inner.op.name if inner.op is not None else "parameter"
        if len(operators) > 1:
            what += f", the last of {len(operators)} in the group {node.op.label}"
        notes = [note for note in (self.inside(node, reads, extents), self.layer_to_blame(launch, node, reads, result, writes, extents)) if note]
        return Finding("kernel", kernel.name, self.labelled(node, result, launch), what, str(node.location), wrong, number + 1, tuple(notes))

    def labelled(self, node: Node | None, result: int, launch: Launch) -> str:
        """A result of a launch as the last graph's text has it."""
        if node is None:
            return launch.label
        value = node.results[result]
        return f"{_all_labels(list(self.levels.passes.values())[-1]).get(value, 'value')}: {value.type}"

    def inside(self, node: Node, reads, extents) -> str:
        """Which operator of the group is wrong where each has a kernel of its own: tried on the numbers that the group read."""
        body = graph_at_extents(node.op.body, extents)
        if sum(not n.op.is_view for n in body.nodes) < 2 or not self.options.fuse:
            return ""
        try:
            found = Search(body, reads, replace(self.options, fuse=False)).run("f64")
        except LaminaError:
            return ""
        if found.agrees:
            return "each operator in a kernel of its own is right: it is wrong only as it is fused"
        at = f" ({found.finding.location})" if found.finding.location else ""
        return f"in a kernel of its own, {found.finding.operator}{at} is wrong, too"

    def layer_to_blame(self, launch: Launch, node: Node, reads, result: int, writes, extents) -> str:
        """Whether the kernel's loops are wrong already, or the native code made of them."""
        if evaluate(graph_flops(node.op.body), extents) > MOST_LOOPED:
            return ""
        looped = self.interpreted(launch, reads, extents)
        if looped is None:
            return ""
        is_alike = not expect("", looped[result]).wrong(writes[result]).any()
        return ("its loops compute the same: the lowering is to blame" if is_alike
                else "its loops are right: the code generation is to blame")

    # ---- around the kernels ---------------------------------------------------------------------------------------------
    def around_kernels(self, stepper: Stepper, got: Sequence[np.ndarray]) -> Finding:
        """Every kernel is right by itself: what one reads was overwritten, or the native program around them is wrong."""
        seen: list[list[int]] = []
        stepper.run(self.arrays, lambda number, launch, reads: seen.append([zlib.crc32(r.tobytes()) for r in reads]), apart=True)
        found: list[Finding] = []

        def watch(number: int, launch: Launch, reads: list[np.ndarray]) -> None:
            bad = next((i for i, r in enumerate(reads) if number < len(seen) and zlib.crc32(r.tobytes()) != seen[number][i]), None)
            if bad is not None and not found:
                kernel = self.levels.program.kernels[launch.kernel]
                storage = [p for p, b in zip(launch.places, kernel.params) if b.role in ("in", "constant", "inout")][bad].storage
                found.append(Finding("memory", kernel.name, f"operand {bad}, in the slot of {storage.label}", launch.label, str(launch.location or ""),
                                     None, number + 1))
        stepped = stepper.run(self.arrays, watch)
        if found:
            return found[0]
        i = next(i for i, (e, o) in enumerate(zip(self.expected, got)) if e.wrong(o).any())
        hint = ("run launch by launch the outputs are right",) if _agree(self.expected, stepped) else ()
        return Finding("host program", "", f"output {self.graph.output_names[i]}: {self.graph.results[i].type}", "", "",
                       difference(self.expected[i].array, got[i], self.expected[i].wrong(got[i])), notes=hint)


def _agree(expected: Sequence[Expected], got: Sequence[np.ndarray]) -> bool:
    return not any(e.wrong(np.asarray(g)).any() for e, g in zip(expected, got))


def _all_labels(graph: Graph) -> dict:
    """The labels of the values of `graph` and of the groups in it."""
    from ...compiler.graph.graph import subgraphs
    found = dict(label_values(graph))
    for node in graph.nodes:
        for inner in subgraphs(node.op):
            found.update(_all_labels(inner))
    return found
