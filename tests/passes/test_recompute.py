"""Does a kernel make again what a few operations give from what it reads anyway, and only that?"""

import lamina as lm
import numpy as np
import pytest
from lamina.compiler.core.options import Options
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.ops.control import Fused
from lamina.compiler.pipeline import run_pipeline
from lamina.compiler.targets.find import find_target

from ..plan.programs import floats

rng = np.random.default_rng(0)


def products(graph):
    """The contraction groups of a graph when they are final."""
    stages = {}
    run_pipeline(graph, find_target("host"), Options(), Remarks(), watch=stages.__setitem__)
    return [n for n in stages["recompute"].nodes if isinstance(n.op, Fused) and n.op.kind == "contraction"]


def layers(activation):
    def loss(x, w, v):
        return lm.sum(lm.square(activation(x @ w) @ v))
    return lm.trace(lm.grad(loss, argnums=(0, 1, 2)), floats(19, 8), floats(8, 24), floats(24, 5))


def drawn():
    return [rng.standard_normal(s).astype("float32") for s in ((19, 8), (8, 24), (24, 5))]


@pytest.mark.parametrize("activation", [lm.gelu, lambda x: lm.gelu(x, approximate="tanh"), lm.silu, lm.sigmoid, lm.relu,
                                        lambda x: lm.tanh(lm.exp(x))], ids=["gelu", "tanh-gelu", "silu", "sigmoid", "relu", "two"])
def test_gradients_are_what_they_were(activation):
    graph = layers(activation)
    arrays = drawn()
    executable = lm.compile(graph)
    for got, want in zip(executable(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=1e-4)
    assert all(np.array_equal(a, b) for a, b in zip(executable(*arrays, threads=1), executable(*arrays, threads=2)))


def gated(x, w, v, u):
    """Of z and erf(z) both a product's operand and, behind two products, an epilogue are made."""
    z = x @ w
    t = lm.erf(z)
    return ((t * z) @ v @ u) * t * z


def test_a_product_stores_no_more_than_what_its_readers_can_t_make():
    graph = lm.trace(gated, floats(19, 8), floats(8, 24), floats(24, 5), floats(5, 24))
    first, _, last = products(graph)
    assert "erf" in first.op.label and len(first.results) == 2
    assert [n.op.name for n in last.op.body.nodes].count("erf") == 1
    executable = lm.compile(graph)
    assert "made again by what reads it" in executable.text("remarks")
    arrays = [*drawn(), rng.standard_normal((5, 24)).astype("float32")]
    np.testing.assert_allclose(executable(*arrays)[0], gated(*arrays), rtol=1e-4, atol=1e-4)


def test_what_the_caller_asked_for_and_what_two_slow_functions_make_is_stored():
    def f(x, w, v):
        z = x @ w
        t = lm.erf(z)
        return t, lm.square(t) @ v, z
    graph = lm.trace(f, floats(19, 8), floats(8, 24), floats(24, 5))
    executable, arrays = lm.compile(graph), drawn()
    assert len(products(graph)[0].results) == 3 and "made again" not in executable.text("remarks")
    for got, want in zip(executable(*arrays), f(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_bodies_of_loops_do_so_too():
    def loss(x, w, v):
        return lm.sum(lm.scan(lambda c, _: (lm.gelu(c @ w) @ v, None), x, None, length=5)[0])
    shapes = (7, 8), (8, 24), (24, 8)
    graph = lm.trace(lm.grad(loss, argnums=(1, 2)), *(floats(*s) for s in shapes))
    arrays = [rng.standard_normal(s).astype("float32") / 4 for s in shapes]
    for got, want in zip(lm.compile(graph)(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
