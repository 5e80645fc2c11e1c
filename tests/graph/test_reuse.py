"""What is known of a graph is not found out again: that it keeps the rules, that it is canonical, its result types."""

import gc

from lamina.compiler.core.collection import collection_paused
from lamina.compiler.core.dtypes import float32
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph import verify as rules
from lamina.compiler.graph.builder import Builder, rebuild
from lamina.compiler.ops.elementwise.unary import Exp
from lamina.compiler.passes import canonicalize as canonical


def make(shape=(3, 5)):
    builder = Builder()
    x = builder.parameter(TensorType(shape, float32), "x")
    return builder.finish([builder.emit(Exp(), x)])


def test_a_graph_is_verified_once(monkeypatch):
    graph, seen = make(), []
    original = rules.verify
    monkeypatch.setattr(rules, "verify", lambda g: seen.append(g) or original(g))
    assert graph.verify() is graph and graph.verify() is graph
    assert seen == [graph]


def test_a_canonical_graph_is_not_rebuilt(monkeypatch):
    graph = canonical.canonicalize(make())
    monkeypatch.setattr(canonical, "_rebuild", lambda *_: 1 / 0)
    assert canonical.canonicalize(graph) is graph


def test_types_are_inferred_where_the_operands_are_of_other_types(monkeypatch):
    graph, calls = make(), []
    original = Exp.infer
    monkeypatch.setattr(Exp, "infer", lambda self, *types: calls.append(types) or original(self, *types))
    assert rebuild(graph, fold=False).nodes[0].result_types == graph.nodes[0].result_types
    assert not calls
    builder = Builder()
    x = builder.parameter(TensorType((7,), float32))
    (y,) = builder.emit_all(Exp(), x, like=graph.nodes[0])
    assert y.shape == (7,) and len(calls) == 1


def test_the_collector_rests_and_comes_back():
    assert gc.isenabled()
    with collection_paused():
        assert not gc.isenabled()
        with collection_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
