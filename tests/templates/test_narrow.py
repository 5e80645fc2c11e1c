"""Do convolutions with few outputs sum along their channels, and compute the same?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.options import Options
from lamina.compiler.driver import compile_graph
from lamina.compiler.kernel.text import parse_kernel, print_kernel
from lamina.compiler.plan.interpret import run as interpret
from lamina.compiler.targets.find import all_targets
from lamina.runtime.executable import Executable

from ..codegen.test_targets import runs_here
from ..ops.native import OBJECTS
from ..plan.programs import floats, program_of


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def kernel_of(program):
    return next(k for k in program.kernels if "conv" in k.name)


#: x [N, *spatial, C], window, outputs, strides, padding, dilation
CASES = [((1, 9, 19, 64), (3, 3), 3, 1, 1, 1), ((2, 8, 8, 37), (3, 3), 2, 2, 1, 1), ((1, 12, 12, 48), (5, 4), 4, 1, 0, 2),
         ((3, 30, 65), (7,), 1, 1, 3, 1), ((1, 5, 6, 7, 32), (2, 3, 3), 2, 1, 1, 1), ((2, 9, 1, 64), (9, 1), 3, 1, 0, 1),
         ((1, 16, 16, 64), (9, 9), 1, 1, 4, 1)]


@pytest.mark.parametrize("target", all_targets(), ids=lambda t: t.name)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_level_computes_it(case, target):
    shape, window, outputs, strides, padding, dilation = case
    windows, bias = draw(*window, shape[-1], outputs, seed=1), draw(outputs, seed=2)
    layout = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[len(window)]

    def network(x):
        y = lm.conv(x, windows, bias, strides=strides, padding=padding, dilation=dilation, layout=layout)
        return lm.tanh(y * 0.05)
    graph = lm.trace(network, floats(*shape))
    program = program_of(graph, target=target.name)
    kernel = kernel_of(program)
    if target.vector_bytes > 16:  # else most vectors are full of outputs
        assert "sums: f32" in str(kernel), "a partial sum for each output and pixel"
    assert print_kernel(parse_kernel(print_kernel(kernel))) == print_kernel(kernel)
    x = draw(*shape)
    (expected,) = graph.evaluate(x)
    if np.prod(shape) * np.prod(window) * outputs < 100_000:
        np.testing.assert_allclose(interpret(program, [x])[0], expected, atol=1e-5)
    if runs_here(target.name):
        executable = Executable(compile_graph(graph, options=Options(target=target.name), cache=OBJECTS))
        (y,) = executable(x, threads=1)
        np.testing.assert_allclose(y, expected, atol=1e-5)
        np.testing.assert_array_equal(executable(x, threads=3)[0], y)


def test_a_symbolic_map():
    windows = draw(3, 3, 64, 3, seed=1)
    graph = lm.trace(lambda x: lm.relu(lm.conv(x, windows, layout="NHWC")), floats("n", "h", "w", 64),
                     dims={"n": (1, 4), "h": (3, 50), "w": (3, 50)})
    executable = Executable(compile_graph(graph, cache=OBJECTS))
    assert "sums: f32" in executable.text("kernels")
    for n, h, w in ((1, 3, 3), (2, 17, 30), (4, 5, 19)):
        x = draw(n, h, w, 64)
        np.testing.assert_allclose(executable(x)[0], graph.evaluate(x)[0], atol=2e-5)


@pytest.mark.parametrize("channels, outputs", [(64, 8), (8, 3), (3, 1)])
def test_others_have_their_outputs_as_lanes(channels, outputs):
    windows = draw(5, 5, channels, outputs)
    graph = lm.trace(lambda x: lm.conv(x, windows, layout="NHWC"), floats(1, 12, 12, channels))
    assert "sums: f32" not in str(kernel_of(program_of(graph, target="x86-64-v4")))
