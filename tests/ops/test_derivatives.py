"""Are the rules of derivatives right?  Against central finite differences in float64, to the second order."""

import numpy as np
import pytest

from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.core.errors import UnsupportedError
from lamina.compiler.graph.builder import Builder, inline
from lamina.compiler.graph.graph import Graph
from lamina.compiler.ops import REGISTRY, Cast, CustomVjp, Op, While
from lamina.compiler.ops.control import Control
from lamina.compiler.transforms.forward import forward
from lamina.compiler.transforms.reverse import reverse
from lamina.compiler.transforms.tape import REGIONS

from .samples import all_samples, types_of

STEP = 1e-6
STEEP = ("mod", "rem")  # steps whose slopes say nothing of the second order


def graph_of(op, arrays) -> Graph:
    """The graph of `op` alone."""
    builder = Builder(op.name, fold=False)
    params = [builder.parameter(t, f"x{i}") for i, t in enumerate(types_of(arrays))]
    return builder.finish(builder.emit_all(op, *params))


def floats(arrays) -> list[int]:
    """The places of floats."""
    return [i for i, a in enumerate(arrays) if as_dtype(a.dtype).is_float]


def wide(sample) -> list[np.ndarray]:
    """A sample's floats as float64, the others as they are; all as they are where graphs inside the op fix the dtype.
    """
    fixed = isinstance(sample.op, Control)
    return [a.astype(np.float64) if as_dtype(a.dtype).is_float and not fixed else a for a in sample.arrays]


def has_derivative(sample) -> bool:
    """Whether float64 operands give results that finite differences say something of."""
    arrays = wide(sample)
    if not sample.grad or not floats(arrays) or not all(np.isfinite(a).all() for a in arrays):
        return False
    results = [t.dtype for t in sample.op.infer(*types_of(arrays)) if t.dtype.is_float]
    return bool(results) and all(dtype.bits == 64 for dtype in results)


def differentiable(where=lambda sample: True):
    return [p for p in all_samples(is_differentiable) if has_derivative(p.values[0])
            and where(p.values[0])]


def is_differentiable(op) -> bool:
    return not op.not_differentiable and not (isinstance(op, While) and op.bound is None)


def evaluate(graph: Graph, arrays) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return graph.evaluate(*arrays)


def directional(graph: Graph, arrays, wrt, directions) -> list[np.ndarray]:
    """The derivative of the float results along `directions` of the operands numbered `wrt`; NaN where there is none:
    at steps, where a shorter difference gives another slope, and where results are not finite."""
    long, short = (_difference(graph, arrays, wrt, directions, step) for step in (STEP, STEP / 4))
    return [np.where(np.abs(a - b) <= 1e-3 * (1 + np.abs(b)), a, np.nan) for a, b in zip(long, short)]


def _difference(graph: Graph, arrays, wrt, directions, step: float) -> list[np.ndarray]:
    shifted = []
    for sign in (1, -1):
        moved = list(arrays)
        for i, d in zip(wrt, directions):
            moved[i] = arrays[i] + sign * step * d
        shifted.append([r for r in evaluate(graph, moved) if r.dtype == np.float64])
    with np.errstate(all="ignore"):
        return [(a - b) / (2 * step) for a, b in zip(*shifted)]


def assert_derivative(graph: Graph, arrays, tolerance: float) -> None:
    """<cotangent, J direction> by finite differences is <J^T cotangent, direction>, by element where the op is
    pointwise, for random cotangents and directions."""
    rng = np.random.default_rng(1)
    wrt = floats(arrays)
    pulled = reverse(graph, wrt).verify()
    results = [r for r in evaluate(graph, arrays) if r.dtype == np.float64]
    pointwise = graph.name in REGISTRY and REGISTRY[graph.name].is_pointwise
    for trial in range(3):
        cotangents = [rng.standard_normal(r.shape) for r in results]
        found = evaluate(pulled, [*arrays, *cotangents])[-len(wrt):]
        for i, f in zip(wrt, found):
            assert (f.shape, f.dtype) == (arrays[i].shape, arrays[i].dtype)
        if pointwise:
            for i, f in zip(wrt, found):
                (slope,) = directional(graph, arrays, [i], [np.ones_like(arrays[i])])
                exists = np.isfinite(slope)
                np.testing.assert_allclose(f[exists], (slope * cotangents[0])[exists], rtol=tolerance, atol=tolerance)
            continue
        directions = [rng.standard_normal(arrays[i].shape) for i in wrt]
        slopes = directional(graph, arrays, wrt, directions)
        if not all(np.isfinite(s).all() for s in slopes):  # nothing flows back from those that have no slope
            cotangents = [np.where(np.isfinite(s), c, 0) for s, c in zip(slopes, cotangents)]
            found = evaluate(pulled, [*arrays, *cotangents])[-len(wrt):]
            slopes = [np.where(np.isfinite(s), s, 0) for s in slopes]
        expected = sum(np.sum(s * c) for s, c in zip(slopes, cotangents))
        got = sum(np.sum(f * d) for f, d in zip(found, directions))
        scale = 1 + sum(np.sum(np.abs(s * c)) for s, c in zip(slopes, cotangents))
        assert abs(got - expected) <= tolerance * scale, (got, expected)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_op_has_a_rule_or_says_why_not(name):
    cls = REGISTRY[name]
    gives_floats = any(t.dtype.is_float for s in cls.samples() for t in s.op.infer(*types_of(s.arrays)) if s.arrays)
    has_rule = cls.is_flat or cls.vjp is not Op.vjp or cls in REGIONS
    if cls.not_differentiable:
        assert not has_rule and len(cls.not_differentiable) > 10
    elif gives_floats:
        assert has_rule, "a method vjp, is_flat = True, or not_differentiable = why"
        assert cls.is_flat or cls in REGIONS or differentiable(lambda s: type(s.op) is cls), "a sample to try it on"


@pytest.mark.parametrize("sample", differentiable())
def test_vjp_agrees_with_finite_differences(sample):
    arrays = wide(sample)
    assert_derivative(graph_of(sample.op, arrays), arrays, 2e-5)


@pytest.mark.parametrize("sample", differentiable(lambda s: s.op.name not in STEEP))
def test_vjp_of_vjp_agrees_with_finite_differences(sample):
    arrays = wide(sample)
    graph = graph_of(sample.op, arrays)
    rng = np.random.default_rng(2)
    cotangents = [rng.standard_normal(t.shape) for t in sample.op.infer(*types_of(arrays)) if t.dtype.is_float]
    wrt = floats(arrays)
    first = reverse(graph, wrt)
    only = Builder("first", fold=False)
    params = [only.parameter(p.type, p.name) for p in first.params]
    first = only.finish(inline(only, first, params)[-len(wrt):])
    with np.errstate(all="ignore"):
        if all(np.isfinite(r).all() for r in first.evaluate(*arrays, *cotangents)):
            assert_derivative(first, [*arrays, *cotangents], 1e-4)


@pytest.mark.parametrize("sample", all_samples(is_differentiable))
def test_cotangents_have_their_operands_types(sample):
    graph = graph_of(sample.op, sample.arrays)
    wrt = floats(sample.arrays)
    if not wrt or not any(r.dtype.is_float for r in graph.results):
        return
    pulled = reverse(graph, wrt).verify()
    assert [r.type for r in pulled.results[-len(wrt):]] == [graph.params[i].type for i in wrt]


def test_a_cast_pulls_back_through_the_narrow_type():
    builder = Builder()
    x = builder.parameter(types_of([np.zeros(3)])[0])
    graph = builder.finish([builder.emit(Cast(as_dtype("float16")), x)])
    found = reverse(graph, [0]).evaluate(np.ones(3), np.array([1, 2, 1 / 3], np.float16))[-1]
    np.testing.assert_array_equal(found, np.array([1, 2, 1 / 3], np.float16).astype(np.float64))


def test_an_op_without_a_rule_is_named():
    with pytest.raises(UnsupportedError, match="op has no derivative.*\n.*custom_vjp"):
        Op.vjp(type("Odd", (), {"name": "op", "is_flat": False, "not_differentiable": "it is odd"})(), None, (), (), ())


@pytest.mark.parametrize("sample", differentiable(lambda sample: not isinstance(sample.op, CustomVjp)))
def test_jvp_is_the_transpose_of_vjp(sample):
    """<cotangent, J tangent> is <J^T cotangent, tangent>, up to rounding."""
    arrays, rng = wide(sample), np.random.default_rng(3)
    graph, wrt = graph_of(sample.op, arrays), floats(arrays)
    results = evaluate(graph, arrays)
    cotangents = [rng.standard_normal(r.shape) for r in results if r.dtype == np.float64]
    tangents = [rng.standard_normal(arrays[i].shape) for i in wrt]
    pushed = evaluate(forward(graph, wrt).verify(), [*arrays, *tangents])
    pulled = evaluate(reverse(graph, wrt), [*arrays, *cotangents])
    for a, b in zip(pushed, results):
        np.testing.assert_array_equal(a, b)
    there = np.array([np.sum(c * t) for c, t in zip(cotangents, pushed[len(results):], strict=True)])
    back = np.array([np.sum(c * t) for c, t in zip(pulled[len(results):], tangents, strict=True)])
    if np.isfinite(there.sum()) and np.isfinite(back.sum()):
        scale = 1 + sum(np.abs(c * t).sum() for c, t in zip(cotangents, pushed[len(results):]))
        np.testing.assert_allclose(there.sum(), back.sum(), rtol=1e-10, atol=1e-10 * scale)
