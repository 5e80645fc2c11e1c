"""Which value of a model goes wrong first, and what makes it so?

The outputs are compared with the reference. Where they differ, halving finds the first pass whose graph computes
something else; where every graph is right, the compiled program runs launch by launch, and each kernel is held against
the operators of its group on the very numbers that it read: what came before can't hide it, and neither fusion nor
schedule change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Mapping, Sequence

import numpy as np

from ...compiler.check import Expected, disturbed, expect
from ...compiler.core.errors import LaminaError
from ...compiler.core.options import Options
from ...compiler.graph.graph import Graph, Node, Value
from ...compiler.graph.interpret import bind_extents, interpret
from ..report.labels import label_all
from ..report.levels import Levels
from .finding import Bisection, Difference, Finding, agree, difference, largest_ulps
from .launches import DISTURBED_RUNS, LaunchSearch
from .shadow import shadow
from .stepper import Stepper

AMPLIFIED = ("the outputs differ by more than a rounding or two, but no more than roundings inside of the model "
             "explain: it amplifies them")
REFERENCES = ("f64", "interpreter")


class Search:
    """One bisection of `graph` on `arrays`. `tell(what, done, total)` is told how far it is."""

    def __init__(self, graph: Graph, arrays: Sequence[np.ndarray], options: Options,
                 tell=lambda what, done, total: None):
        self.graph, self.options, self.tell = graph, options, tell
        self.arrays = [np.ascontiguousarray(a, p.type.dtype.numpy).reshape(np.shape(a))
                       for a, p in zip(arrays, graph.params)]
        self.extents = bind_extents(graph, [a.shape for a in self.arrays])
        self.levels = Levels(graph, options, tell)

    def run(self, reference: str, given: Mapping[str, np.ndarray] | None = None) -> Bisection:
        """Compare with `reference`: "f64", "interpreter", or the name of who computed the outputs that are `given` by
        name."""
        if self.levels.error is not None:
            raise self.levels.error
        names = self.graph.output_names
        self.tell("reference", 0, 0)
        own = (interpret(self.graph, self.arrays) if reference == "interpreter"
               else self.narrow(shadow(self.graph, self.arrays)))
        wanted = own if given is None else [np.asarray(given.get(name, array)) for name, array in zip(names, own)]
        for name, array, result in zip(names, wanted, own):
            if array.shape != result.shape:
                raise LaminaError(f"output {name!r} of the reference has shape {array.shape}, "
                                  f"the model's has {result.shape}")
        stepper = Stepper(self.levels)
        self.tell("compiled program", 0, 0)
        got = stepper.executable(*self.arrays)
        far = tuple(map(largest_ulps, wanted, got))

        def result(finding: Finding | None, *remarks: str) -> Bisection:
            case = launches.wrong_group if finding is not None and finding.stage == "kernel" else None
            return Bisection(finding is None, reference, names, far, finding, remarks,
                             case or (self.graph, self.arrays))
        launches = LaunchSearch(self.levels, stepper, self.arrays, self.tell, self.alone if self.options.fuse else None)
        if agree(list(map(expect, names, wanted)), got):
            return result(None)
        noisy = self.with_noise(names, own)
        self.expected = [replace(e, array=array) for e, array in zip(noisy, wanted)]
        if given is not None and not agree(self.expected, own):
            return result(self.difference_of_reference(own))
        if agree(self.expected, got):  # a wrong kernel may hide in what roundings could have done
            finding = launches.first_wrong()
            return result(finding) if finding is not None else result(None, AMPLIFIED)
        self.expected = noisy
        return result(self.first_pass() or launches.first_wrong() or launches.around(self.expected, got))

    def alone(self, group: Graph, reads: Sequence[np.ndarray]) -> Bisection:
        """A bisection of a group whose operators have kernels of their own."""
        return Search(group, reads, replace(self.options, fuse=False)).run("f64")

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
        return self.wrong_output("reference", "", self.graph, own)

    def wrong_output(self, stage: str, name: str, graph: Graph, outputs: Sequence[np.ndarray]) -> Finding:
        """The first of the wrong outputs of `graph`."""
        i = next(i for i, (e, o) in enumerate(zip(self.expected, outputs)) if e.wrong(o).any())
        value, expected = graph.results[i], self.expected[i]
        operator, location = (value.op.name, str(value.node.location)) if value.node is not None else ("parameter", "")
        return Finding(stage, name, f"output {graph.output_names[i]}: {value.type}", operator, location,
                       difference(expected.array, outputs[i], expected.wrong(outputs[i])))

    # ---- passes ------------------------------------------------------------------------------------------------------
    def first_pass(self) -> Finding | None:
        """The pass that changes a number, found by halving; None where the last graph is right."""
        names, graphs = list(self.levels.passes), [self.graph, *self.levels.passes.values()]

        def is_wrong(number: int) -> bool:
            self.tell(f"after {names[number - 1]}", 0, 0)
            return not agree(self.expected, self.narrow(shadow(graphs[number], self.arrays)))
        right, wrong = 0, len(names)
        if not wrong or not is_wrong(wrong):
            return None
        while wrong - right > 1:
            middle = (right + wrong) // 2
            right, wrong = (right, middle) if is_wrong(middle) else (middle, wrong)
        return self.value_of_pass(names[wrong - 1], graphs[right], graphs[wrong])

    def value_of_pass(self, name: str, before: Graph, after: Graph) -> Finding:
        """The first value behind the pass that differs from the one of the same operator, origin and size before it,
        else the output that does."""
        known: dict[tuple, list[np.ndarray]] = {}

        def keep(node: Node, results: Sequence[np.ndarray]) -> None:
            for result in results:
                known.setdefault(_key(node, result), []).append(result)
        shadow(before, self.arrays, watch=keep)
        labels = label_all(after)
        found: list[Finding] = []

        def compare(node: Node, results: Sequence[np.ndarray]) -> None:
            for value, result in zip(node.results, results):
                others = known.get(_key(node, result))
                if not found and others and (changed := _changed(value, result, others)) is not None:
                    found.append(Finding("pass", name, f"{labels[value]}: {value.type}", node.op.name,
                                         str(node.location), changed))
        outputs = self.narrow(shadow(after, self.arrays, watch=compare))
        return found[0] if found else self.wrong_output("pass", name, after, outputs)


def _key(node: Node, array: np.ndarray) -> tuple[str, str, int]:
    return node.op.name, str(node.location), array.size


def _changed(value: Value, result: np.ndarray, others: Sequence[np.ndarray]) -> Difference | None:
    """How `result` differs from each of `others`; None where it is one of them. They are compared sorted, for passes
    transpose and reshape; told is where it is off as it lies, where shapes allow it."""
    in_order = np.sort(result, axis=None)
    expected = [expect("", np.sort(other, axis=None)) for other in others]
    if any(not e.wrong(in_order).any() for e in expected):
        return None
    same = next((expect("", other) for other in others if other.shape == result.shape), None)
    want, got = (same, result) if same is not None else (expected[0], in_order)
    return difference(want.array, got.astype(value.dtype.numpy), want.wrong(got))
