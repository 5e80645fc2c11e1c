"""Do products ask for what comes from beyond the cache, and for nothing else?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.codegen.module import kernel_module
from lamina.compiler.codegen.object import compile_assembly
from lamina.compiler.core.options import Options
from lamina.compiler.driver import compile_graph
from lamina.compiler.targets.find import all_targets
from lamina.runtime.executable import Executable

from ..ops.native import OBJECTS
from ..plan.programs import floats, program_of


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def product(rows, depth, columns):
    return lm.trace(lambda x: lm.matmul(x, draw(depth, columns)), floats(rows, depth))


@pytest.mark.parametrize("target", all_targets(), ids=lambda t: t.name)
@pytest.mark.parametrize("rows, depth, is_ahead", [(16_000, 72, True), (16_000, 24, False), (160, 72, False)])
def test_rows_from_beyond_the_cache_are_asked_for(rows, depth, is_ahead, target):
    (kernel,) = program_of(product(rows, depth, 40), target=target.name).kernels
    assert ("prefetch in0" in str(kernel)) == is_ahead
    assembly = compile_assembly(kernel_module(kernel, target, "kernel"), target)
    assert any(word in assembly for word in ("prefetcht0", "prfm")) == is_ahead


def test_what_is_asked_for_changes_no_number():
    graph = product(16_001, 72, 40)
    x = draw(16_001, 72, seed=1)
    (y,) = Executable(compile_graph(graph, options=Options(), cache=OBJECTS))(x)
    expected = x.astype("float64") @ draw(72, 40).astype("float64")
    np.testing.assert_allclose(y, expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("images, strides, lines", [(1, 1, 0), (64, 1, 8), (64, 2, 32)])
def test_depthwise_convolutions_ask_for_the_next_pixels(images, strides, lines):
    windows = draw(32, 1, 3, 3)
    graph = lm.trace(lambda x: lm.conv(x, windows, groups=32, strides=strides), floats(images, 32, 34, 34))
    kernel = next(k for k in program_of(graph, target="x86-64-v4").kernels if "conv" in k.name)
    assert str(kernel).count("prefetch") == lines
    x = draw(images, 32, 34, 34)
    executable = Executable(compile_graph(graph, cache=OBJECTS))
    np.testing.assert_allclose(executable(x)[0], graph.evaluate(x)[0], atol=1e-5)
    np.testing.assert_array_equal(executable(x, threads=1)[0], executable(x, threads=2)[0])


def test_a_convolution_with_padding_is_refused():
    """Its border is a pass's to make; the kernel would read beside its input."""
    from lamina.compiler.core.errors import CompilerError
    from lamina.compiler.core.types import TensorType
    from lamina.compiler.core.dtypes import float32
    from lamina.compiler.graph.builder import Builder
    from lamina.compiler.kernel.ir import Buffer, row_major
    from lamina.compiler.ops.conv import Conv
    from lamina.compiler.targets import find_target
    from lamina.compiler.templates.contraction import lower_contraction
    builder = Builder("group")
    x, w = (builder.parameter(TensorType(s, float32), n) for s, n in (((1, 5, 5, 4), "x"), ((3, 3, 4, 8), "w")))
    body = builder.finish([builder.emit(Conv((1, 1), ((1, 1), (1, 1)), (1, 1)), x, w)])
    params = [Buffer(v.name, float32, v.shape, row_major(v.shape), "in") for v in (x, w)]
    out = Buffer("out", float32, (1, 5, 5, 8), row_major((1, 5, 5, 8)), "out")
    with pytest.raises(CompilerError, match="no pass has separated it"):
        lower_contraction(body, params, [out], find_target("x86-64-v3"), "k")


@pytest.mark.parametrize("depth, columns, target, tile", [
    (16, 96, "x86-64-v4", "4, 96"), (24, 144, "x86-64-v4", "5, 80"), (32, 128, "x86-64-v4", "2, 128"),
    (128, 512, "x86-64-v4", "6, 64"), (256, 1024, "x86-64-v4", "14, 32"), (384, 48, "x86-64-v4", "9, 48"),
    (16, 96, "x86-64-v3", "4, 24"), (256, 96, "x86-64-v3", "4, 24"), (512, 96, "x86-64-v3", "6, 16")])
def test_short_sums_take_wide_tiles(depth, columns, target, tile):
    """Their panels stay in the first cache; what is stored is most of the work, and goes in longer runs."""
    kernel = next(k for k in program_of(product(3136, depth, columns), target=target).kernels if "contract" in k.name)
    assert f"register acc: f32[{tile}]" in str(kernel), [line for line in str(kernel).splitlines() if "acc" in line][:4]
