"""Do the rules keep the law: each is shown by a filetest, none does more work, and numbers stay what they were?"""

from collections import Counter

import ml_dtypes
import numpy as np
import pytest

from lamina.compiler.core.dims import symbol
from lamina.compiler.core.dtypes import ALL, float32
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph.builder import Builder, rebuild
from lamina.compiler.graph.text import parse_graph, print_graph
from lamina.compiler.ops import Add, Broadcast, Cast, Compare, Constant, Contract, Conv, Div, Mul, Sqrt, Sub, Transpose
from lamina.compiler.passes.canonicalize import canonicalize
from lamina.compiler.rewrites import RULES
from lamina.compiler.rewrites.casts import is_lossless
from lamina.compiler.rewrites.rule import rule

from ..filetests.test_filetests import FILES, read_cases
from ..graph.work import work
from ..ops.samples import all_samples, assert_close, types_of


def fired(graph) -> Counter[str]:
    """How often each rule applied when `graph` was canonicalized."""
    remarks = Remarks()
    canonicalize(graph, remarks)
    return Counter({r.subject.split(": ")[1]: int(r.reason.split()[0]) for r in remarks})


def test_every_rule_is_shown_by_a_case():
    seen = Counter()
    for path in FILES:
        name, cases = read_cases(path)
        if name == "canonicalize":
            for case in cases:
                seen += fired(parse_graph(case.source))
    names = {r.name for rules in RULES.values() for r in rules}
    assert names - seen.keys() == set()


def test_names_of_rules_are_unique():
    rules = {r for rules in RULES.values() for r in rules}
    assert len({r.name for r in rules}) == len(rules)


@pytest.mark.parametrize("sample", all_samples())
def test_every_op_means_the_same_afterwards(sample):
    """On parameters, and on constants: then the whole op folds."""
    b = Builder(fold=False)
    graph = b.finish(b.emit_all(sample.op, *(b.parameter(t) for t in types_of(sample.arrays))))
    expected = graph.evaluate(*sample.arrays)
    after = canonicalize(graph).verify()
    assert work(after) <= work(graph)
    for got, want in zip(after.evaluate(*sample.arrays), expected):
        assert_close(got, want, sample.tolerance)
    b = Builder(fold=False)
    graph = b.finish(b.emit_all(sample.op, *(b.emit(Constant(a)) for a in sample.arrays)))
    after = canonicalize(graph).verify()
    for got, want in zip(after.evaluate(), expected):
        assert_close(got, want, sample.tolerance)


def test_batch_normalization_folds_exactly_enough():
    rng = np.random.default_rng(0)
    b = Builder()
    n = symbol("n", 1, 4)
    x = b.parameter(TensorType((n, 9, 11, 16), float32), "x")

    def column(low, high):
        return b.emit(Broadcast((n, 9, 11, 32), (3,)), b.constant(rng.uniform(low, high, 32).astype(np.float32)))
    w = rng.standard_normal((3, 3, 16, 32)).astype(np.float32)
    y = b.emit(Conv((1, 1), ((1, 1), (1, 1)), (1, 1)), x, b.constant(w))
    y = b.emit(Add(), y, column(-1, 1))
    y = b.emit(Div(), b.emit(Sub(), y, column(-2, 2)), b.emit(Sqrt(), column(0.1, 9)))
    graph = b.finish([b.emit(Add(), b.emit(Mul(), y, column(-2, 2)), column(-1, 1))])
    after = canonicalize(graph).verify()
    assert [type(n.op).__name__ for n in after.nodes if not isinstance(n.op, (Constant, Broadcast))] == ["Conv", "Add"]
    image = rng.standard_normal((2, 9, 11, 16)).astype(np.float32)
    (want,), (got,) = graph.evaluate(image), after.evaluate(image)
    assert np.max(np.abs(want - got)) <= 1e-5 * np.max(np.abs(want))


def test_a_builder_that_counts_no_uses_never_repeats_work():
    b = Builder()
    x = b.parameter(TensorType((3, 4), float32))
    product = b.emit(Contract("ij,kj->ik"), x, x)
    graph = b.finish([b.emit(Transpose((1, 0)), product)])
    assert [type(n.op) for n in rebuild(graph, RULES).nodes] == [Contract, Transpose]
    assert [type(n.op) for n in canonicalize(graph).nodes] == [Contract]


def test_canonical_graphs_are_given_back_as_they_are():
    graph = canonicalize(parse_graph("graph f(%x: f32[3]) {\n %0 = exp(%x)\n %1 = add(%0, %x)\n return %1 }"))
    remarks = Remarks()
    assert canonicalize(graph, remarks) is graph and not len(remarks)


def test_locations_names_and_constants_survive():
    head = "graph f(%x: f32[3]) -> (y) {\n  %0 = constant {array=f32[3](1.0, 2.0, 3.0), label=\"bias\"} : f32[3]\n"
    text = (head + "  %1 = neg(%x) : f32[3]  # m.py:3 in f\n  %2 = neg(%1) : f32[3]  # m.py:4 in f\n"
            "  %3 = mul(%2, %0) : f32[3]  # m.py:5 in f\n  return %3\n}\n")
    graph = parse_graph(text)
    after = canonicalize(graph)
    assert print_graph(after) == head + "  %1 = mul(%x, %0) : f32[3]  # m.py:5 in f\n  return %1\n}\n"
    assert after.nodes[0].op.array is graph.nodes[0].op.array


def test_lossless_casts_lose_nothing():
    for a in ALL:
        for to in ALL:
            if not is_lossless(a, to):
                continue
            if a.is_float:
                info = ml_dtypes.finfo(a.numpy)
                ends = [0, 1, 1 + float(info.eps), info.max, info.min, info.tiny, np.inf]
                values = np.array(ends, np.float64).astype(a.numpy)
            elif a.is_bool:
                values = np.array([False, True])
            else:
                values = np.array([a.minimum, a.maximum, a.maximum - 1, 1, 0], a.numpy)
            there = Cast(to).evaluate(values)[0]
            assert Cast(a).evaluate(there)[0].tobytes() == values.tobytes(), (a, to)


def test_a_rule_that_does_not_end_is_cut_off(monkeypatch):
    monkeypatch.setitem(RULES, Compare, ())

    @rule(Compare)
    def swing(b, op, x, y):
        """x < y -> x > y: wrong on purpose."""
        return b._append(Compare("gt" if op.relation == "lt" else "lt"), (x, y))
    graph = parse_graph("graph f(%x: f32[], %y: f32[]) { %0 = compare(%x, %y) {relation=\"lt\"} return %0 }")
    assert len(canonicalize(graph).nodes) == 1
