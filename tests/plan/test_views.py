"""Do views as strides show what the operators compute, forwards and backwards?"""

import numpy as np
import pytest

from lamina.compiler.core.dims import evaluate, product, symbol
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.kernel.ir import row_major
from lamina.compiler.ops.rearrange import Broadcast, Pad, Reshape, Slice, Transpose
from lamina.compiler.plan.program import Place, Storage
from lamina.compiler.plan.views import reshape_strides, unview, view

INT = as_dtype("int64")


def dense(shape) -> Place:
    return Place(Storage("arena"), 0, tuple(shape), row_major(tuple(shape)), INT)


def elements(place: Place, memory: np.ndarray, extents=None) -> np.ndarray:
    """What lies at `place` in `memory`."""
    extents = extents or {}
    shape = tuple(evaluate(d, extents) for d in place.shape)
    strides = tuple(evaluate(s, extents) * memory.itemsize for s in place.strides)
    return np.lib.stride_tricks.as_strided(memory[evaluate(place.offset, extents):], shape, strides).copy()


def random_op(shape, generator):
    """A view operator that takes an operand of `shape`."""
    rank, kind = len(shape), generator.integers(0, 4)
    if kind == 0:
        return Transpose(tuple(map(int, generator.permutation(rank))))
    if kind == 1:
        starts, sizes, steps = [], [], []
        for extent in shape:
            step = int(generator.choice((1, 1, 2, -1)))
            start = int(generator.integers(0, extent))
            room = (extent - 1 - start if step > 0 else start) // abs(step) + 1
            starts.append(start), sizes.append(int(generator.integers(1, room + 1))), steps.append(step)
        return Slice(tuple(starts), tuple(sizes), tuple(steps))
    if kind == 2:
        at = int(generator.integers(0, rank + 1))
        target = [*shape[:at], int(generator.integers(1, 4)), *shape[at:]]
        axes = tuple(i for i in range(rank + 1) if i != at)
        return Broadcast(tuple(3 if d == 1 and generator.random() < 0.5 else d for d in target), axes)
    return Reshape(regrouped(shape, generator))


def regrouped(shape, generator):
    """Another shape of as many elements: neighbours joined, or an axis split, and units."""
    dims = [d for d in shape if d != 1]
    if len(dims) > 1 and generator.random() < 0.5:
        at = int(generator.integers(0, len(dims) - 1))
        dims[at:at + 2] = [dims[at] * dims[at + 1]]
    splits = [(i, p) for i, d in enumerate(dims) for p in (2, 3) if d % p == 0 and d > p]
    if splits:
        at, p = splits[int(generator.integers(0, len(splits)))]
        dims[at:at + 1] = [p, dims[at] // p]
    dims.insert(int(generator.integers(0, len(dims) + 1)), 1)
    return tuple(dims)


@pytest.mark.parametrize("seed", range(60))
def test_chains_of_views(seed):
    generator = np.random.default_rng(seed)
    shape = tuple(int(n) for n in generator.integers(1, 7, generator.integers(1, 4)))
    memory = np.arange(np.prod(shape))
    array, place = memory.reshape(shape), dense(shape)
    seen = 0
    for _ in range(5):
        op = random_op(array.shape, generator)
        after = op.reference(array)
        found = view(op, place, after.shape)
        if found is None:
            assert isinstance(op, Reshape), "strides express every other view"
            assert not shares_memory(elements_view(place, memory), after.shape)
            continue
        array, place, seen = after, found, seen + 1
        np.testing.assert_array_equal(elements(place, memory), array)
    assert seen


def elements_view(place: Place, memory: np.ndarray) -> np.ndarray:
    strides = tuple(s * memory.itemsize for s in place.strides)
    return np.lib.stride_tricks.as_strided(memory[place.offset:], place.shape, strides)


def shares_memory(array: np.ndarray, shape) -> bool:
    """Whether NumPy can reshape without a copy."""
    view = array.view()
    try:
        view.shape = shape
    except AttributeError:
        return False
    return True


@pytest.mark.parametrize("seed", range(40))
def test_reshaped_strides_are_found_where_numpy_finds_them(seed):
    generator = np.random.default_rng(seed)
    shape = tuple(int(n) for n in generator.choice((1, 2, 3, 4, 6), 3))
    memory = np.arange(4096)
    order = list(map(int, generator.permutation(3)))
    base = np.lib.stride_tricks.as_strided(memory, shape, [8 * s for s in row_major(shape)]).transpose(order)
    if generator.random() < 0.5:
        base = base[tuple(slice(0, max(1, n - 1)) for n in base.shape)]
    target = regrouped(base.shape, generator)
    strides = reshape_strides(base.shape, tuple(s // 8 for s in base.strides), target)
    assert (strides is not None) == shares_memory(base, target)
    if strides is not None:
        shown = np.lib.stride_tricks.as_strided(base, target, [8 * s for s in strides])
        np.testing.assert_array_equal(shown, base.reshape(target))


def test_reshaped_strides_of_symbols():
    batch = symbol("batch", 1, 64)
    eight = symbol("length", 8, 512, 8)
    assert reshape_strides((batch, 4, 6), (24, 6, 1), (batch * 4, 6)) == (6, 1)
    assert reshape_strides((batch * 4, 6), (6, 1), (batch, 2, 2, 6)) == (24, 12, 6, 1)
    assert reshape_strides((batch, eight), (eight, 1), (batch, eight // 8, 8)) == (eight, 8, 1)
    assert reshape_strides((batch, 4, 6), (48, 6, 1), (batch * 4, 6)) is None
    assert reshape_strides((batch, 0), (0, 1), (0, batch)) == (batch, 1)


@pytest.mark.parametrize("seed", range(40))
def test_unview_is_where_the_operand_must_lie(seed):
    """The result of the view, taken of the place that unview finds, is the wanted place."""
    generator = np.random.default_rng(seed)
    shape = tuple(int(n) for n in generator.choice((1, 2, 3, 4, 6), 3))
    op = Reshape(regrouped(shape, generator))
    if generator.random() < 0.5:
        op = Transpose(tuple(map(int, generator.permutation(3))))
    (result,) = op.infer(_type(shape))
    padded = tuple(n + int(generator.integers(0, 2)) for n in result.shape)  # the result is a part of something larger
    wanted = Place(Storage("arena"), 5, result.shape, row_major(padded), INT)
    behind = unview(op, wanted, shape)
    memory = np.arange(5 + product(padded))
    if behind is None:
        assert isinstance(op, Reshape) and not shares_memory(elements_view(wanted, memory), shape)
        return
    assert behind.storage is wanted.storage and behind.shape == shape
    seen = view(op, behind, result.shape)
    np.testing.assert_array_equal(elements(seen, memory), elements(wanted, memory))
    np.testing.assert_array_equal(op.reference(elements(behind, memory)), elements(wanted, memory))


def _type(shape):
    from lamina.compiler.core.types import TensorType
    return TensorType(shape, INT)


def test_what_is_no_view():
    place = dense((2, 3))
    assert view(Pad((0, 0), (1, 1), 0), place, (3, 4)) is None
    assert unview(Slice((0, 0), (1, 1), (1, 1)), dense((1, 1)), (2, 3)) is None
