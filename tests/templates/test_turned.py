"""Are operands that lie along their sums packed in whole vectors, and into the right places?"""

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


def draw(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def by_rows(x, y):
    return lm.matmul(x, lm.swapaxes(y, -1, -2))


def attend(q, k, v):
    return lm.matmul(lm.softmax(by_rows(q, k) * 0.125), v)


#: rows, sums, columns: whole tiles, halves and quarters of them, and none; columns that fill their panels, and others
PRODUCTS = [(5, 64, 64), (3, 8, 33), (17, 24, 7), (4, 12, 19), (6, 7, 40)]


@pytest.mark.parametrize("target", all_targets(), ids=lambda t: t.name)
@pytest.mark.parametrize("rows, sums, columns", PRODUCTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_every_level_computes_it(rows, sums, columns, dtype, target):
    arrays = draw(2, rows, sums, dtype=dtype), draw(2, columns, sums, dtype=dtype, seed=1)
    graph = lm.trace(by_rows, *(floats(*a.shape, dtype=dtype) for a in arrays))
    bound = {"float32": 1e-4, "float64": 1e-12, "float16": 2e-2}[dtype]
    (expected,) = graph.evaluate(*arrays)
    np.testing.assert_allclose(interpret(program_of(graph, target=target.name), list(arrays))[0], expected, atol=bound)
    if runs_here(target.name):
        executable = Executable(compile_graph(graph, options=Options(target=target.name), cache=OBJECTS))
        (y,) = executable(*arrays, threads=1)
        np.testing.assert_allclose(y, expected, atol=bound)
        np.testing.assert_array_equal(executable(*arrays, threads=3)[0], y)


@pytest.mark.parametrize("function, shapes", [
    (by_rows, [("m", 48), ("n", 48)]), (attend, [(1, 2, "m", 32), (1, 2, "n", 32), (1, 2, "n", 32)])])
def test_symbolic_extents(function, shapes):
    graph = lm.trace(function, *(floats(*s) for s in shapes), dims={"m": (1, 200), "n": (1, 200)})
    executable = Executable(compile_graph(graph, cache=OBJECTS))
    for m, n in ((1, 1), (3, 31), (40, 100), (65, 33)):
        arrays = [draw(*({"m": m, "n": n}.get(d, d) for d in s), seed=i) for i, s in enumerate(shapes)]
        np.testing.assert_allclose(executable(*arrays)[0], graph.evaluate(*arrays)[0], atol=1e-4)


@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("function, shapes", [(by_rows, [(256, 64), (256, 64)]), (attend, [(1, 4, 128, 64)] * 3)])
def test_no_element_is_moved_alone(function, shapes, target):
    (kernel,) = program_of(lm.trace(function, *(floats(*s) for s in shapes)), target=target).kernels
    found = find_target(target)
    assembly = compile_assembly(kernel_module(kernel, found, "kernel"), found)
    packing = assembly[:assembly.index("vfmadd")]
    assert "gather" not in assembly and "scatter" not in assembly
    assert packing.count("vunpcklps") >= found.vector_bytes // 8, "tiles are turned by unpacking"
    assert "vextractps" not in packing and "vpextrd" not in packing
