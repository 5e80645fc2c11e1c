"""Do pools over planes, as images come from outside, compute the same as over channels that lie side by side?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.codegen.module import kernel_module
from lamina.compiler.codegen.object import compile_assembly
from lamina.compiler.core.options import Options
from lamina.compiler.driver import compile_graph
from lamina.compiler.plan.interpret import run as interpret
from lamina.compiler.targets.find import all_targets, find_target
from lamina.runtime.executable import Executable

from ..codegen.test_targets import runs_here
from ..ops.native import OBJECTS
from ..plan.programs import floats, program_of


def draw(*shape, dtype="float32"):
    x = np.random.default_rng(0).standard_normal(shape)
    x.reshape(-1)[::97] = np.nan
    return x.astype(dtype)


#: shape [N, C, *spatial], window, strides, padding, dilation
CASES = [((2, 3, 9, 40), 3, 1, 1, 1), ((1, 2, 12, 41), 3, 2, 1, 1), ((1, 3, 7, 7), 3, 1, 1, 1), ((2, 2, 8, 37), 2, 2, 0, 1),
         ((1, 2, 5, 33), (1, 7), (1, 3), 3, 1), ((1, 2, 40), 5, 1, 2, 2), ((1, 2, 4, 5, 36), 2, (1, 2, 1), 1, 1),
         ((1, 2, 30, 31), 7, 3, 0, 1), ((1, 3, 2, 2), 2, 1, 1, 1), ((1, 2, 6, 1), (3, 1), 1, 0, 1), ((3, 1, 5, 9), 3, 4, 1, 1)]


@pytest.mark.parametrize("target", all_targets(), ids=lambda t: t.name)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_level_computes_it(case, target):
    shape, window, strides, padding, dilation = case
    form = {"strides": strides, "padding": padding}

    def network(x):
        return lm.max_pool(x, window, dilation=dilation, **form), lm.avg_pool(x, window, **form)
    graph = lm.trace(network, floats(*shape))
    x = draw(*shape)
    expected = graph.evaluate(x)
    for got, want in zip(interpret(program_of(graph, target=target.name), [x]), expected):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    if runs_here(target.name):
        executable = Executable(compile_graph(graph, options=Options(target=target.name), cache=OBJECTS))
        results = executable(x, threads=1)
        for got, want, again in zip(results, expected, executable(x, threads=3)):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(got, again)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8", "uint8", "int64"])
def test_dtypes(dtype):
    graph = lm.trace(lambda x: lm.max_pool(x, 3, strides=2, padding=1), floats(1, 3, 11, 45, dtype=dtype))
    x = np.random.default_rng(0).integers(0, 100, (1, 3, 11, 45)).astype(graph.params[0].dtype.numpy)
    np.testing.assert_array_equal(Executable(compile_graph(graph, cache=OBJECTS))(x)[0], graph.evaluate(x)[0])


def test_symbolic_extents():
    graph = lm.trace(lambda x: lm.max_pool(x, 3, strides=2, padding=1), floats("n", 3, "h", "w"),
                     dims={"n": (1, 4), "h": (1, 60), "w": (1, 90)})
    executable = Executable(compile_graph(graph, cache=OBJECTS))
    for n, h, w in ((1, 1, 1), (2, 5, 2), (1, 33, 64), (4, 7, 90), (1, 2, 35)):
        x = draw(n, 3, h, w)
        np.testing.assert_array_equal(executable(x)[0], graph.evaluate(x)[0])


@pytest.mark.parametrize("strides", [1, 2])
def test_whole_vectors_are_not_gathered(strides):
    target = find_target("x86-64-v4")
    graph = lm.trace(lambda x: lm.max_pool(x, 3, strides=strides), floats(1, 8, 66, 66))
    (kernel,) = program_of(graph, target=target.name).kernels
    assert str(kernel).count("vector(16) for column") == 1, "the last vector of a line lies against its end"
    assert "gather" not in compile_assembly(kernel_module(kernel, target, "kernel"), target)
