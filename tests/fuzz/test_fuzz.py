"""Do all oracles agree on random graphs?  Text, the canonical graph, the program and native code against the
interpreter.

`--fuzz-graphs N` says how many graphs are tried; the costly oracles see a part of them. A graph that fails is shrunk to
the fewest of its nodes that still fail, and printed as text with its arrays.
"""

import sys
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.compiler.core.errors import UnsupportedError
from lamina.compiler.graph.graph import Graph
from lamina.compiler.graph.interpret import interpret
from lamina.compiler.graph.text import graph_constants, parse_graph, print_graph
from lamina.compiler.passes.canonicalize import canonicalize
from lamina.compiler.plan.interpret import run as run_program
from lamina.compiler.plan.text import parse_program, print_program, program_constants

from ..graph.work import work
from ..ops.native import compiled
from ..plan.programs import program_of
from .generate import Choices, random_graph, seeded
from .loops import random_loops
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


def through_program(graph: Graph, arrays):
    """The results of the program as its text spells it, run by its interpreter; parallel loops may run backwards."""
    program = program_of(graph).verify()
    text = print_program(program, kernels=True)
    back = parse_program(text, constants=program_constants(program)).verify()
    assert print_program(back, kernels=True) == text
    results = run_program(back, arrays)
    same_bits(run_program(back, arrays, backwards=True), results, "parallel loops depend on their order")
    return results


def compile_and_run(graph: Graph, arrays):
    """The results of native code, the same bits for one thread and two."""
    executable = compiled(graph)
    results = executable(*arrays, threads=1)
    same_bits(executable(*arrays, threads=2), results, "two threads differ from one")
    return results


def compile_and_run_spread(graph: Graph, arrays):
    """As `compile_and_run`, where even the least work is split over threads."""
    with patched_everywhere(CHUNK_WORK=8, PART_WORK=32, UNIT_FLOPS=64):
        return compile_and_run(graph, arrays)


def same_bits(got, want, problem: str) -> None:
    for a, b in zip(got, want, strict=True):
        assert a.tobytes() == b.tobytes(), problem


@contextmanager
def patched_everywhere(**values):
    """Each module of the compiler that has a constant of such a name has another value for it."""
    found = [(module, name) for path, module in list(sys.modules.items()) if path.startswith("lamina.compiler.")
             for name in values if name in vars(module)]
    assert {name for _, name in found} == set(values), "constants have other names now"
    with pytest.MonkeyPatch.context() as patch:
        for module, name in found:
            patch.setattr(module, name, values[name])
        yield


ORACLES = {"text": through_text, "canonicalize": canonicalized, "program": through_program, "native": compile_and_run,
           "native, spread": compile_and_run_spread}
SHARE = {"program": 3, "native": 3, "native, spread": 4}  # an oracle that is costly sees one graph in so many
LOOPS = 8  # one graph with loops for so many without


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
    for seed in range(chunk, request.config.getoption("--fuzz-graphs") // SHARE.get(oracle, 1), CHUNKS):
        graph, arrays = random_graph(seeded(seed))
        check(graph, arrays, ORACLES[oracle], f"seed {seed}")


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("oracle", [name for name in ORACLES if name != "canonicalize"])
def test_random_loops(oracle, chunk, request):
    for seed in range(chunk, request.config.getoption("--fuzz-graphs") // LOOPS // SHARE.get(oracle, 1), CHUNKS):
        graph, arrays = random_loops(seeded(seed))
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
