"""How is an array function tried?  At once and traced (with --native also compiled), against an expected result."""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.core.types import TensorType
from lamina.frontends.array.tracer import Tracer, tracing


def _as_list(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _traced(function, arrays, native):
    with tracing("traced") as trace:
        params = [trace.parameter(TensorType(a.shape, as_dtype(a.dtype)), f"x{i}") for i, a in enumerate(arrays)]
        results = _as_list(function(*params))
        assert not arrays or any(isinstance(r, Tracer) for r in results), "the function recorded nothing"
        graph = trace.finish(results)
    yield list(graph.verify().evaluate(*arrays))
    if native:
        yield list(lm.compile(graph)(*arrays))


def _compare(got, expected, rtol, atol):
    assert isinstance(got, (np.ndarray, np.generic))
    assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"
    assert got.dtype == expected.dtype, f"dtype {got.dtype}, expected {expected.dtype}"
    if expected.dtype.kind in "biu":
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_allclose(got.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol)


@pytest.fixture
def agree(request):
    """agree(function, expected, *arrays): function(*arrays), at once and traced, gives `expected` (an array or
    several).

    Where `dtype` is given the expected arrays are cast to it first (NumPy computes in float64 where lamina keeps
    float32).
    """
    def check(function, expected, *arrays, rtol=2e-5, atol=2e-6, dtype=None):
        expected = [np.asarray(e) for e in _as_list(expected)]
        if dtype is not None:
            expected = [e.astype(dtype) for e in expected]
        for results in (_as_list(function(*arrays)), *_traced(function, arrays, request.config.getoption("--native"))):
            assert len(results) == len(expected)
            for got, want in zip(results, expected):
                _compare(got, want, rtol, atol)
    return check
