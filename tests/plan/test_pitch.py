"""Are rows that would share a set of the cache spread, and all others left dense?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.options import Options
from lamina.compiler.driver import compile_graph
from lamina.compiler.kernel.ir import row_major
from lamina.compiler.plan.interpret import run
from lamina.compiler.plan.program import Program, walk_launches
from lamina.runtime.executable import Executable

from .programs import floats, program_of


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def strides_of(program: Program, shape) -> set[tuple]:
    """The strides with which values of `shape` in the arena are written."""
    found = set()
    for launch in walk_launches(program.steps):
        kernel = program.kernels[launch.kernel]
        found |= {p.strides for p, b in zip(launch.places, kernel.params, strict=True)
                  if b.role == "out" and p.shape == shape and p.storage.kind == "arena"}
    return found


def feed_forward(x, *, wide):
    """Two layers with `wide` features between them."""
    return lm.matmul(lm.relu(lm.matmul(x, draw(24, wide))), draw(wide, 16, seed=1))


@pytest.mark.parametrize("rows, wide, pitch", [(20, 1024, 1040), (20, 3072, 3088), (20, 1000, 1000), (20, 512, 512),
                                               (8, 1024, 1024), ("n", 2048, 2064)])
def test_rows_a_page_apart_are_spread(rows, wide, pitch):
    dims = {"n": (1, 64)} if rows == "n" else None
    graph = lm.trace(lambda x: feed_forward(x, wide=wide), floats(rows, 24), dims=dims)
    program = program_of(graph)
    rows = graph.params[0].shape[0]
    assert strides_of(program, (rows, wide)) == {(pitch, 1)}
    assert program.plan.arena_bytes == program.plan.lower_bound
    x = draw(13 if graph.symbols else rows, 24)
    expected = graph.evaluate(x)[0]
    (interpreted,) = run(program, [x])
    np.testing.assert_allclose(interpreted, expected, atol=2e-6 * np.abs(expected).max())
    (native,) = Executable(compile_graph(graph))(x)
    np.testing.assert_allclose(native, expected, atol=2e-6 * np.abs(expected).max())


def test_residuals_still_take_over_their_operands():
    def chain(x):
        x = lm.relu(x)
        for seed in range(3):
            x = lm.relu(lm.matmul(lm.relu(lm.matmul(x, draw(1024, 16, seed=seed))), draw(16, 1024, seed=seed + 5)) + x)
        return lm.matmul(x, draw(1024, 8))
    program = program_of(lm.trace(chain, floats(20, 1024)))
    storages = {p.storage for launch in walk_launches(program.steps) for p in launch.places
                if p.shape == (20, 1024) and p.storage.kind == "arena"}
    assert [s.size for s in storages] == [20 * 1040 * 4]


def test_a_stride_of_the_convolution_counts():
    def network(x, strides):
        x = lm.relu(x)
        return lm.conv(x, draw(3, 3, 512, 16), strides=strides, padding=1, layout="NHWC")
    for strides, pitch in ((2, 528), (3, 512)):
        graph = lm.trace(lambda x, strides=strides: network(x, strides), floats(1, 9, 9, 512))
        program = program_of(graph, winograd=False)
        assert strides_of(program, (1, 9, 9, 512)) == {(121 * pitch, 11 * pitch, pitch, 1)}, "laid inside its border"
        x = draw(1, 9, 9, 512)
        expected = graph.evaluate(x)[0]
        (native,) = Executable(compile_graph(graph, options=Options(winograd=False)))(x)
        np.testing.assert_allclose(native, expected, atol=3e-6 * np.abs(expected).max())


def test_what_views_need_dense_stays_dense():
    def network(x):
        wide = lm.relu(lm.matmul(x, draw(24, 1024)))
        return lm.matmul(wide, draw(1024, 8)), lm.matmul(lm.reshape(wide, (10, 2048)), draw(2048, 8))
    graph = lm.trace(network, floats(20, 24))
    program = program_of(graph)
    assert strides_of(program, (20, 1024)) == {row_major((20, 1024))}
    x = draw(20, 24)
    for got, expected in zip(Executable(compile_graph(graph))(x), graph.evaluate(x), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-6 * np.abs(expected).max())


def test_results_and_inputs_are_dense():
    graph = lm.trace(lambda x, w: (lm.matmul(x, w), lm.relu(x)), floats(20, 1024), floats(1024, 8))
    for launch in walk_launches(program_of(graph).steps):
        assert all(p.strides == row_major(p.shape) for p in launch.places if p.storage.kind in ("input", "output"))
