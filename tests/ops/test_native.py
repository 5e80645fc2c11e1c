"""Does native code compute what the references do?  Every op on every sample, on operands in any strides, with symbolic
dims."""

import numpy as np
import pytest

from lamina.compiler.core.dims import evaluate
from lamina.compiler.core.dtypes import bool_
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph.builder import Builder
from lamina.compiler.ops import REGISTRY, Slice, Transpose
from lamina.compiler.ops.op import Sample

from .native import PARTS, assert_agrees, compiled, expected, results_of, run
from .samples import all_samples, sample_id, types_of
from .test_symbolic_shapes import CASES, b, s

NAMES = [name for name in sorted(REGISTRY) if name not in PARTS]


def numbered() -> list:
    """(op, number) of every sample, named after what it is tried on."""
    return [pytest.param(name, i, id=sample_id(name, i, sample))
            for name in NAMES for i, sample in enumerate(REGISTRY[name].samples())]


@pytest.mark.parametrize("name, number", numbered())
def test_every_sample(name, number):
    assert_agrees(REGISTRY[name].samples()[number], results_of(name)[number])


# ---- strides ---------------------------------------------------------------------------------------------------------
def strided(builder: Builder, array: np.ndarray, position: int, number: int):
    """The operand as a view of a larger or reordered argument: transposed, backwards, or every second element."""
    rank = array.ndim
    if rank == 0 or array.size == 0:
        return None
    form = (position + number) % 3
    (type,) = types_of([array])
    name = f"x{number}_{position}"
    if form == 0 and rank > 1:
        order = tuple(reversed(range(rank)))
        argument = np.ascontiguousarray(array.transpose(order))
        return builder.emit(Transpose(order), builder.parameter(TensorType(argument.shape, type.dtype), name)), argument
    last = array.shape[-1]
    if form == 1:
        start, step, argument = last - 1, -1, np.ascontiguousarray(array[..., ::-1])
    else:
        start, step, argument = 1, 2, np.zeros((*array.shape[:-1], 2 * last), array.dtype)
        argument[..., 1::2] = array
    op = Slice((0,) * (rank - 1) + (start,), array.shape, (1,) * (rank - 1) + (step,))
    return builder.emit(op, builder.parameter(TensorType(argument.shape, type.dtype), name)), argument


@pytest.mark.parametrize("name", [n for n in NAMES if any(s.arrays for s in REGISTRY[n].samples())])
def test_strided_operands(name):
    samples = REGISTRY[name].samples()
    some = samples[::max(1, len(samples) // 12)]
    for sample, got in zip(some, run(some, operand=strided)):
        assert_agrees(sample, got)


# ---- symbolic dims ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CASES)
def test_symbolic_dims(name):
    op, types, _ = CASES[name]
    builder = Builder("symbolic", fold=False)
    # some ops take operands that do not have all dims of their result
    builder.parameter(TensorType((b, s), bool_), "extents")
    results = builder.emit_all(op, *(builder.parameter(t, f"x{i}") for i, t in enumerate(types)))
    executable = compiled(builder.finish(results))
    for seed, extents in enumerate([{"b": 1, "s": 2}, {"b": 3, "s": 7}, {"b": 2, "s": 129}, {"b": 64, "s": 33}]):
        rng = np.random.default_rng(seed)
        arrays = []
        for t in types:
            shape = tuple(evaluate(d, extents) for d in t.shape)
            low, high = (-2, extents["s"] + 2) if t.dtype.is_integer and t.dtype.is_signed else (0, 1000)
            arrays.append((rng.normal(size=shape) if t.dtype.is_float
                           else rng.integers(low, high, shape)).astype(t.dtype.numpy))
        sample = Sample(op.at_extents(extents), tuple(arrays), tolerance=2e-5)
        assert_agrees(sample, executable(np.zeros((extents["b"], extents["s"]), bool), *arrays), expected(sample))


def test_every_sample_is_tried():
    assert len(numbered()) == len(all_samples(lambda op: op.name not in PARTS))
