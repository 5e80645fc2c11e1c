"""Do all oracles agree on random graphs?  Text, the canonical graph and the native program against the interpreter.

`--fuzz-graphs N` says how many graphs are tried. A graph that fails is shrunk to the fewest of its nodes that still
fail, and printed as text with its arrays.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina as lm
from lamina.compiler.core.errors import UnsupportedError
from lamina.compiler.graph.graph import Graph
from lamina.compiler.graph.interpret import interpret
from lamina.compiler.graph.text import graph_constants, parse_graph, print_graph
from lamina.compiler.passes.canonicalize import canonicalize

from ..graph.work import work
from .generate import Choices, random_graph, seeded
from .shrink import shrink

CHUNKS = 8  # the seeds are split over so many tests


def differs(graph: Graph, arrays, run) -> str | None:
    """How the results of `run(graph, arrays)` differ from the interpreter's; None where they agree but for rounding."""
    largest = 1.0

    def watch(_, array):
        nonlocal largest
        if array.dtype.kind == "f" and array.size:
            largest = max(largest, float(np.abs(array[np.isfinite(array)]).max(initial=0)))
    expected = interpret(graph, arrays, watch=watch)
    results = run(graph, arrays)
    for i, (want, got) in enumerate(zip(expected, results, strict=True)):
        if got.shape != want.shape or got.dtype != want.dtype:
            return f"result {i} is {got.dtype}{got.shape}, {want.dtype}{want.shape} was expected"
        if want.dtype.kind != "f":
            wrong = got != want
        else:
            tolerance = largest * {2: 1e-2, 4: 2e-5, 8: 1e-12}[want.dtype.itemsize]
            if want.dtype.itemsize == 8 and any(n.results[0].dtype.name == "float32" for n in graph.nodes if n.results):
                tolerance = largest * 2e-5
            wrong = ~np.isclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True)
        if wrong.any():
            return (f"result {i} differs in {int(wrong.sum())} of {wrong.size} elements: {got[wrong][:3]}, "
                    f"expected {want[wrong][:3]}")
    return None


def through_text(graph: Graph, arrays):
    """The results of the graph that the text of `graph` spells."""
    text = print_graph(graph)
    back = parse_graph(text, graph_constants(graph)).verify()
    assert print_graph(back) == text
    return back.evaluate(*arrays)


def canonicalized(graph: Graph, arrays):
    """The results of the canonical graph, which is no costlier and does not change again."""
    after = canonicalize(graph).verify()
    assert work(after) <= work(graph), "canonicalize made the graph costlier"
    assert print_graph(canonicalize(after)) == print_graph(after), "canonicalize changes its own result"
    return after.evaluate(*arrays)


def compile_and_run(graph: Graph, arrays):
    """The results of the native program."""
    return lm.compile(graph)(*arrays)


ORACLES = {"text": through_text, "canonicalize": canonicalized, "native": compile_and_run}


def complain(graph: Graph, arrays, run) -> str | None:
    """What is wrong with a run: a difference, or the error that it raised. To refuse a model openly is not wrong."""
    try:
        return differs(graph, arrays, run)
    except UnsupportedError:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def check(graph: Graph, arrays, run, origin: str) -> None:
    """Fail with the smallest graph that shows a problem."""
    problem = complain(graph, arrays, run)
    if problem is not None:
        small, its_arrays = shrink(graph, arrays, lambda g, a: complain(g, a, run) is not None)
        problem = complain(small, its_arrays, run)
        shown = "\n".join(f"{p.name} = np.array({a.tolist()}, {a.dtype.name!r})"
                          for p, a in zip(small.params, its_arrays))
        pytest.fail(f"{origin}: {problem}\n\n{small}\n{shown}", pytrace=False)


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("oracle", ORACLES)
def test_random_graphs(oracle, chunk, request):
    for seed in range(chunk, request.config.getoption("--fuzz-graphs"), CHUNKS):
        graph, arrays = random_graph(seeded(seed))
        check(graph, arrays, ORACLES[oracle], f"seed {seed}")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_graphs_that_hypothesis_finds(data):
    choices = Choices(lambda low, high: data.draw(st.integers(low, high)))
    graph, arrays = random_graph(choices, steps=6)
    for run in (through_text, canonicalized):
        check(graph, arrays, run, "found by hypothesis")


def test_the_generator_reaches_most_operators():
    seen = set()
    for seed in range(150):
        graph, arrays = random_graph(seeded(seed))
        graph.verify()
        assert len(arrays) == len(graph.params)
        seen |= {node.op.name for node in graph.nodes}
    assert len(seen) >= 40, sorted(seen)
