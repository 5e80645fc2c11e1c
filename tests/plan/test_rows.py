"""Do rows that a product reads lie apart where they would meet in one set of the cache, and nowhere else?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.plan.interpret import run
from lamina.compiler.plan.program import walk_launches
from lamina.compiler.targets import find_target

from .programs import arrays_of, floats, program_of

rng = np.random.default_rng(0)
W, V = rng.uniform(-1, 1, (8, 1024)).astype("float32"), rng.uniform(-1, 1, (1024, 24)).astype("float32")


def strides_of(function, *specs, dims=None, target="x86-64-v4"):
    """The strides of the first launch's result; the program computes what the graph does."""
    graph = lm.trace(function, *specs, dims=dims)
    program = program_of(graph, target=target).verify()
    arrays = arrays_of(graph, {"n": 11})
    for got, want in zip(run(program, arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)
    first = next(iter(walk_launches(program.steps)))
    return next(p.strides for p, b in zip(first.places, program.kernels[first.kernel].params) if b.role == "out")


def test_rows_of_a_product_lie_a_line_further_apart():
    assert strides_of(lambda x: lm.tanh(x @ W) @ V, floats(11, 8)) == (1040, 1)
    assert strides_of(lambda x: lm.tanh(x @ W) @ V, floats("n", 8), dims={"n": (1, 64)}) == (1040, 1)
    assert strides_of(lambda x: lm.tanh(x @ W) @ V, floats(3, 4, 8)) == (4160, 1040, 1)


def test_where_nothing_is_gained_they_lie_side_by_side():
    assert strides_of(lambda x: lm.tanh(x @ W) @ V, floats(8, 8)) == (1024, 1)  # a set holds eight lines
    assert strides_of(lambda x: lm.tanh(x @ W[:, :1000]) @ V[:1000], floats(11, 8)) == (1000, 1)
    assert strides_of(lambda x: lm.sum(lm.cumulative_sum(lm.tanh(x @ W), axis=0), axis=0), floats(11, 8)) == (1024, 1)
    assert strides_of(lambda x: lm.tanh(x @ W) @ V, floats(11, 8), target="x86-64-v3") == (1024, 1)  # tiles of six rows


def test_a_view_that_needs_dense_rows_keeps_them_dense():
    def flat(x):
        h = lm.tanh(x @ W)
        return h @ V, lm.reshape(h, (-1,))[5:] @ lm.ones(11 * 1024 - 5)
    assert strides_of(flat, floats(11, 8)) == (1024, 1)


def test_a_result_is_dense():
    assert strides_of(lambda x: (lm.tanh(x @ W), lm.tanh(x @ W) @ V), floats(11, 8)) == (1024, 1)


def test_a_residual_is_added_in_place():
    square = rng.uniform(-1, 1, (1024, 1024)).astype("float32") / 32

    def layers(x):
        h = x @ W
        return lm.tanh(h + lm.tanh(h @ square) @ square) @ V
    graph = lm.trace(layers, floats(11, 8))
    program = program_of(graph, target="x86-64-v4").verify()
    slots = [slot.storage.size for slot in program.plan.slots]
    assert slots == [11 * 1040 * 4] * 2


@pytest.mark.parametrize("n", [1024, 2048])
def test_arrays_from_outside_are_copied_apart(n):
    graph = lm.trace(lambda a, b: a @ b, floats(19, n), floats(n, 300))
    program = program_of(graph, target="x86-64-v4").verify()
    (kernel,) = program.kernels
    assert [b.shape for b in kernel.params if b.name == "rows"] == [(19 * (n + 16),)]
    a, b = (rng.uniform(-1, 1, shape).astype("float32") for shape in ((19, n), (n, 300)))
    if find_target("host").name == "x86-64-v4":
        np.testing.assert_allclose(lm.compile(graph)(a, b)[0], a @ b, rtol=1e-4, atol=1e-3)


def test_batches_are_copied_apart():
    graph = lm.trace(lambda a, b: a @ b, floats(2, 3, 16, 1024), floats(2, 3, 1024, 300))
    a, b = (rng.uniform(-1, 1, p.shape).astype("float32") for p in graph.params)
    executable = lm.compile(graph)
    np.testing.assert_allclose(executable(a, b)[0], a @ b, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(executable(a, b, threads=1)[0], executable(a, b, threads=2)[0])


@pytest.mark.parametrize("strides, apart", [(1, 512), (2, 528), (3, 512)])
def test_a_convolution_steps_over_pixels(strides, apart):
    windows = rng.uniform(-1, 1, (3, 3, 512, 16)).astype("float32")
    graph = lm.trace(lambda x: lm.conv(lm.tanh(x), windows, strides=strides, padding=1, layout="NHWC"), floats(1, 30, 30, 512))
    program = program_of(graph, target="x86-64-v4", winograd=False).verify()
    written = [p.strides for launch in walk_launches(program.steps) for p in launch.places if p.shape == (1, 30, 30, 512)
               and p.storage.kind == "arena"]
    assert written == [(32 * 32 * apart, 32 * apart, apart, 1)], "inside of its border"
    x = rng.uniform(-1, 1, (1, 30, 30, 512)).astype("float32")
    executable = lm.compile(graph, options=lm.Options(winograd=False))
    np.testing.assert_allclose(executable(x)[0], graph.evaluate(x)[0], atol=1e-3)


def test_joined_parts_lie_apart_together():
    halves = W[:, :512], W[:, 512:]
    graph = lm.trace(lambda x: lm.concat([lm.tanh(x @ h) for h in halves], axis=1) @ V, floats(11, 8))
    program = program_of(graph, target="x86-64-v4").verify()
    written = [p.strides for launch in walk_launches(program.steps) for p in launch.places if p.shape == (11, 512)]
    assert written == [(1040, 1)] * 2
    (x,) = arrays_of(graph)
    np.testing.assert_allclose(run(program, [x])[0], graph.evaluate(x)[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(lm.compile(graph)(x)[0], graph.evaluate(x)[0], rtol=1e-4, atol=1e-3)
