"""Are lanes that lie near each other loaded in whole vectors, and nothing beyond them?"""

import ctypes
import mmap

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.codegen.module import kernel_module
from lamina.compiler.codegen.object import compile_assembly
from lamina.compiler.core.options import Options
from lamina.compiler.driver import compile_graph
from lamina.compiler.targets.find import all_targets, find_target
from lamina.runtime.executable import Executable

from ..ops.native import OBJECTS
from ..plan.programs import floats, program_of
from .test_targets import runs_here

PATTERNS = {"every second": lambda x: x[::2], "every second from 1": lambda x: x[1::2], "every third": lambda x: x[::3],
            "every fourth": lambda x: x[3::4], "backwards": lambda x: x[::-1], "backwards by two": lambda x: x[::-2],
            "twice each": lambda x: lm.repeat(x, 2), "eight times each": lambda x: lm.repeat(x, 8),
            "three times each": lambda x: lm.repeat(x, 3)}


def at_a_border(array: np.ndarray, behind: bool) -> np.ndarray:
    """A copy that ends (`behind`), or begins, where memory that can't be read follows, or comes before."""
    page = mmap.PAGESIZE
    size = -(-array.nbytes // page) * page
    pages = mmap.mmap(-1, size + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    for closed in (start, start + page + size):
        assert ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(closed), page, 0) == 0
    offset = page + (size - array.nbytes if behind else 0)
    copy = np.frombuffer(pages, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize("target", [t.name for t in all_targets() if runs_here(t.name)])
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("name", PATTERNS)
def test_nothing_else_is_read(name, behind, target):
    for dtype in ("float32", "float64", "int8", "bool", "bfloat16"):
        for extent in (96, 101, 1):
            graph = lm.trace(PATTERNS[name], lm.TensorSpec((extent,), dtype))
            x = np.arange(extent).astype(graph.params[0].dtype.numpy)
            executable = Executable(compile_graph(graph, options=Options(target=target), cache=OBJECTS))
            np.testing.assert_array_equal(executable(at_a_border(x, behind))[0], graph.evaluate(x)[0])


@pytest.mark.parametrize("name", sorted(PATTERNS.keys() - {"three times each"}))
@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4"])
def test_lanes_are_not_gathered(name, target):
    target = find_target(target)
    graph = lm.trace(lambda x: lm.tanh(PATTERNS[name](x)), floats(4 * 96))
    for kernel in program_of(graph, target=target.name).kernels:
        assert "gather" not in compile_assembly(kernel_module(kernel, target, "kernel"), target)
