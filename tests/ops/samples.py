"""Which trials does every op suite run?  Each registered op's samples, with readable ids.

A suite writes `@pytest.mark.parametrize("sample", all_samples())`; `all_samples(lambda op: op.has_element)` gives those
of some ops.
"""

import numpy as np
import pytest

from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.core.types import TensorType
from lamina.compiler.ops import REGISTRY

#: Relative errors that two ways to compute the same floats may differ by.
TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 3e-6, "float64": 1e-13}


def all_samples(where=lambda op: True) -> list:
    """A pytest parameter for each sample of each op for which `where(op)` holds."""
    return [pytest.param(sample, id=sample_id(name, i, sample)) for name, cls in sorted(REGISTRY.items())
            for i, sample in enumerate(cls.samples()) if where(sample.op)]


def sample_id(name: str, number: int, sample) -> str:
    operands = ",".join(f"{t.dtype}[{'x'.join(map(str, t.shape))}]" for t in types_of(sample.arrays))
    return f"{name}-{number}-{operands}"


def types_of(arrays) -> tuple[TensorType, ...]:
    """The types of arrays."""
    return tuple(TensorType(a.shape, as_dtype(a.dtype)) for a in arrays)


def widened(arrays) -> tuple[np.ndarray, ...]:
    """Arrays as `Op.reference` gets them: 16-bit floats as float32."""
    return tuple(a.astype(as_dtype(a.dtype).compute.numpy) for a in arrays)


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float | None = None) -> None:
    """Shapes and dtypes agree, non-floats are equal, floats are as near as `tolerance` (or their dtype's) asks.

    NaN and infinities must be at the same places. The error is relative to each element, or to the largest finite one
    up to 1, so that sums may cancel.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    dtype = as_dtype(got.dtype)
    if not dtype.is_float:
        np.testing.assert_array_equal(got, expected)
        return
    a, b = got.astype(np.float64), expected.astype(np.float64)
    rtol = tolerance or TOLERANCE[dtype.name]
    finite = np.abs(b[np.isfinite(b)])
    floor = np.finfo(np.float32).tiny if dtype.name != "float64" else np.finfo(np.float64).tiny
    np.testing.assert_allclose(a, b, rtol=rtol, atol=max(floor, rtol * min(1.0, finite.max(initial=0.0))))
