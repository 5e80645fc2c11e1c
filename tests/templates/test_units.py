"""Is a product cut into enough units for threads to share, whatever its shape?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.kernel.ir import For

from ..plan.programs import floats, program_of

rng = np.random.default_rng(0)


def units_of(function, *specs) -> int:
    """Iterations of the last parallel loop of the largest product."""
    program = program_of(lm.trace(function, *specs))
    loops = [[s for s in k.body if isinstance(s, For) and s.kind == "parallel"] for k in program.kernels
             if "conv" in k.name or "contract" in k.name]
    return max((found[-1].extent.value for found in loops if found), default=1)


@pytest.mark.parametrize("channels, outputs, size", [(3, 32, 64), (3, 64, 112), (1, 16, 128)])
def test_a_convolution_of_few_columns_is_cut_by_rows(channels, outputs, size):
    w = rng.standard_normal((outputs, channels, 3, 3)).astype("float32")
    assert units_of(lambda x: lm.conv(x, w, strides=2, padding=1), floats(1, channels, size, size)) >= 4


@pytest.mark.parametrize("rows, sums, columns", [(2048, 64, 16), (4096, 32, 32), (8, 512, 4096), (200, 768, 768)])
def test_products_are_cut_where_they_are_long(rows, sums, columns):
    w = rng.standard_normal((sums, columns)).astype("float32")
    assert units_of(lambda x: x @ w, floats(rows, sums)) >= 8


def test_small_products_stay_whole():
    w = rng.standard_normal((16, 16)).astype("float32")
    assert units_of(lambda x: x @ w, floats(8, 16)) == 1


def test_threads_share_few_panels_evenly():
    """Six panels of one row: units of two would leave one thread of two with twice the work."""
    w = rng.standard_normal((768, 768)).astype("float32")
    program = program_of(lm.trace(lambda x: x @ w, floats(1, 768)), target="x86-64-v4")
    (loop,) = (s for s in program.kernels[0].body if isinstance(s, For) and s.kind == "parallel")
    assert loop.extent.value == 6
