"""Does `element`, run as a kernel over the whole index space, compute what the reference does?

The kernel interpreter checks that every element that is read lies inside its operand.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.compiler.core.dims import evaluate, product, symbol
from lamina.compiler.core.dtypes import float32
from lamina.compiler.core.types import TensorType
from lamina.compiler.kernel import builder as k
from lamina.compiler.kernel.interpret import run
from lamina.compiler.kernel.ir import Binary, Buffer, Kernel
from lamina.compiler.kernel.sharing import expressions, postorder
from lamina.compiler.ops import Reshape
from lamina.compiler.ops.rearrange import matching_groups

from .samples import all_samples, assert_close, types_of


def element_kernel(op, types, symbols=()) -> Kernel:
    """One loop nest over the result of `op` that stores its `element`."""
    (result,) = op.infer(*types)
    operands = [Buffer(f"x{i}", t.dtype, t.shape, role="in") for i, t in enumerate(types)]
    out = Buffer("out", result.dtype, result.shape, role="out")
    reads = [lambda index, b=b: k.cast(b.dtype.compute, k.load(b, index)) for b in operands]
    block = k.BlockBuilder()

    def nest(index):
        if len(index) < result.rank:
            with block.loop("i", result.shape[len(index)]) as i:
                nest((*index, i))
        else:
            block.store(out, index, op.element(reads, index, types, result))
    nest(())
    return Kernel("element", (*operands, out), block.statements, tuple(symbols))


def run_element(op, arrays, types=None, extents=None) -> np.ndarray:
    """The result of `element` everywhere; the kernel interpreter checks every access."""
    types = types or types_of(arrays)
    (result,) = op.infer(*types)
    out = np.zeros([evaluate(d, extents or {}) for d in result.shape], result.dtype.numpy)
    run(element_kernel(op, types, extents or ()),
        {**{f"x{i}": np.ascontiguousarray(a) for i, a in enumerate(arrays)}, "out": out}, extents)
    return out


@pytest.mark.parametrize("sample", all_samples(lambda op: op.has_element))
def test_element_agrees_with_the_reference(sample):
    with np.errstate(all="ignore"):
        (expected,) = sample.op.evaluate(*sample.arrays)
    assert_close(run_element(sample.op, sample.arrays), expected, sample.tolerance)


# ---- reshape ---------------------------------------------------------------------------------------------------------
def divisions(op, *types) -> int:
    """How many divisions and remainders the element of `op` takes."""
    (statement,) = (block := element_kernel(op, types)).body
    while hasattr(statement, "body"):
        (statement,) = statement.body
    assert block.body
    return sum(isinstance(e, Binary) and e.op in ("floordiv", "mod") for e in postorder(expressions(statement)))


@pytest.mark.parametrize("before, after, expected", [
    ((3, 5), (3, 5), 0), ((3, 5), (1, 3, 1, 5), 0), ((1, 3, 5), (3, 5, 1), 0), ((12, 5), (3, 4, 5), 0),
    ((3, 4, 5), (3, 20), 2), ((2, 3, 5, 7), (6, 35), 4), ((2, 3, 5, 7), (2, 15, 7), 2), ((6, 35), (2, 3, 5, 7), 0),
    ((4, 6), (6, 4), 2), ((3, 0), (0, 7), 0)])
def test_reshape_divides_inside_its_groups_only(before, after, expected):
    assert divisions(Reshape(after), TensorType(before, float32)) == expected


def test_reshape_divides_by_symbols_inside_their_group_only():
    s, t = symbol("s"), symbol("t")
    for before, after, expected in [((s, 4, 6), (s, 24), 2), ((s, 24), (s, 4, 6), 0), ((s, t), (s, 1, t), 0),
                                    ((s * 4, t), (s, 4, t), 0),
                                    ((s, 4, t), (s * 4, t), 2), ((s, t, 3), (s * t, 3), 2),
                                    ((t, s, 3, 5), (t, s, 15), 2)]:
        assert divisions(Reshape(after), TensorType(before, float32)) == expected
        assert matching_groups(before, after)
        x = np.arange(evaluate(product(before), {"s": 3, "t": 7}), dtype=np.float32)
        x = x.reshape([evaluate(d, {"s": 3, "t": 7}) for d in before])
        got = run_element(Reshape(after), (x,), (TensorType(before, float32),), {"s": 3, "t": 7})
        np.testing.assert_array_equal(got.ravel(), x.ravel())


@st.composite
def two_shapes(draw):
    """Two shapes of one size."""
    factors = draw(st.lists(st.sampled_from([1, 2, 3, 4, 5]), max_size=5))

    def grouped(factors):
        cuts = sorted(draw(st.sets(st.integers(0, len(factors)), max_size=3)))
        pieces = [factors[a:b] for a, b in zip([0, *cuts], [*cuts, len(factors)])]
        return tuple(product(p) for p in pieces if p or draw(st.booleans()))
    return grouped(factors), grouped(draw(st.permutations(factors)))


@given(two_shapes())
@settings(deadline=None, max_examples=60)
def test_reshape_keeps_row_major_order(shapes):
    before, after = shapes
    x = np.arange(product(before), dtype=np.int32).reshape(before)
    got = run_element(Reshape(after), (x,))
    np.testing.assert_array_equal(got, np.array(list(x.flat)).reshape(after))
