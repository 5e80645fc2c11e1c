"""Are the kernels that ops become well formed, and right one scalar at a time?  The kernel interpreter checks every
access.

Thresholds are lowered, so that small operands take the ways of large ones: parts, blocks, merges, tiles.
"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.dtypes import float32
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.graph.builder import Builder
from lamina.compiler.kernel import nest
from lamina.compiler.kernel.interpret import run
from lamina.compiler.kernel.ir import Buffer
from lamina.compiler.lower import crossing, loops, reductions, split_reductions
from lamina.compiler.lower.group import lower_group
from lamina.compiler.ops import REGISTRY, Add, Cumulative, Reduce, Sort, Transpose, sort
from lamina.compiler.ops.op import Sample
from lamina.compiler.pipeline import run_pipeline
from lamina.compiler.targets.find import find_target

from .native import assert_agrees
from .samples import sample_id, types_of
from .test_native_threads import floats, integers, with_ties_and_nans

SINGLE = sorted(name for name, cls in REGISTRY.items() if hasattr(cls, "lower"))

MORE = [Sample(Reduce("sum", (0, 1)), (floats(13, 70),), 1e-5), Sample(Reduce("max", (1,)), (floats(2, 300),)),
        Sample(Reduce("sum", (0,)), (floats(130, 40),), 1e-5), Sample(Reduce("min", (0, 2)), (floats(9, 5, 33),)),
        Sample(Transpose((1, 0)), (floats(21, 37),)),
        Sample(Transpose((0, 2, 1)), (integers(0, 9, 2, 19, 3, dtype="uint8"),)),
        Sample(Transpose((1, 2, 0)), (floats(3, 9, 8),)), Sample(Sort(0), (with_ties_and_nans(150),)),
        Sample(Sort(1, True), (with_ties_and_nans(3, 97, dtype="float64"),)),
        Sample(Cumulative("sum", 0), (floats(7, 70),), 1e-5)]


def kind_of(op) -> str:
    return "reduction" if isinstance(op, Reduce) else "loops" if op.has_element else "single"


def trials() -> list:
    chosen = [(name, i, s) for name in [*SINGLE, "reduce", "transpose"] for i, s in enumerate(REGISTRY[name].samples())]
    few = [(name, i, s) for name, i, s in chosen if i % 4 == 0 or name in ("pool", "transpose")]
    more = [(s.op.name, f"more{i}", s) for i, s in enumerate(MORE)]
    return [pytest.param(s, id=sample_id(name, i, s)) for name, i, s in [*few, *more]]


@pytest.fixture(autouse=True)
def small_thresholds(monkeypatch):
    for module in (nest, loops, reductions, split_reductions):
        monkeypatch.setattr(module, "CHUNK_WORK", 32)
    for module in (reductions, split_reductions):
        monkeypatch.setattr(module, "PART_WORK", 128)
    monkeypatch.setattr(split_reductions, "ROW_OF_SUMS", 16)
    monkeypatch.setattr(reductions, "MANY_ROWS", 4)
    monkeypatch.setattr(nest, "BLOCK_VECTORS", 2)
    monkeypatch.setattr(loops, "BLOCK", 64)
    monkeypatch.setattr(crossing, "LEAST_SIZE", 1)
    monkeypatch.setattr(sort, "STACK_ROW", 64)


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v4"])
@pytest.mark.parametrize("sample", trials())
def test_kernel_alone(sample, target):
    builder = Builder("body", fold=False)
    types = types_of(sample.arrays)
    results = builder.emit_all(sample.op, *(builder.parameter(t, f"x{i}") for i, t in enumerate(types)))
    if any(0 in r.shape for r in results):
        pytest.skip("nothing is computed, so nothing is launched")
    body = builder.finish(results)
    params = [Buffer(f"in{i}", t.dtype, t.shape, role="in") for i, t in enumerate(types)]
    outs = [Buffer(f"out{i}", r.dtype, r.shape, role="out") for i, r in enumerate(results)]
    kernel = lower_group(kind_of(sample.op), body, params, outs, find_target(target), "kernel").verify()
    arrays = {b.name: np.ascontiguousarray(a).reshape(-1) if len(k.shape) == 1 else a
              for b, k, a in zip(params, kernel.params, sample.arrays)}
    for buffer in kernel.params[len(params):]:
        arrays[buffer.name] = np.full(buffer.shape, 77, buffer.dtype.numpy)
    run(kernel, arrays)
    assert_agrees(sample, tuple(arrays[b.name].reshape(b.shape) for b in outs))


@pytest.mark.parametrize("shape", [(21, 37), (32, 48)])
def test_a_result_may_take_over_an_operand_that_another_one_crosses(shape):
    x, y = floats(*shape), floats(*shape[::-1], seed=1)
    builder = Builder("body", fold=False)
    types = types_of([x, y])
    left, right = (builder.parameter(t, n) for t, n in zip(types, "xy"))
    body = builder.finish([builder.emit(Add(), left, builder.emit(Transpose((1, 0)), right))])
    buffers = [Buffer(n, t.dtype, t.shape, role=r)
               for n, t, r in zip(("in0", "in1", "out0"), (*types, types[0]), ("in", "in", "out"))]
    kernel = lower_group("loops", body, buffers[:2], buffers[2:], find_target("x86-64-v4"), "kernel").verify()
    expected = x + y.T
    operand = x.reshape(-1) if len(kernel.params[0].shape) == 1 else x
    run(kernel, {"in0": operand, "in1": y.reshape(-1) if len(kernel.params[1].shape) == 1 else y, "out0": operand})
    np.testing.assert_array_equal(operand.reshape(shape), expected)


@pytest.mark.parametrize("is_shared", [False, True])
def test_exponentials_wait_in_the_result(is_shared):
    """A softmax needs no memory of its own, also where the result takes over its operand's."""
    shape = (9, 70)
    graph = lm.trace(lambda x: 2 * lm.softmax(x), lm.TensorSpec(shape))
    target = find_target("x86-64-v4")
    (body,) = (n.op.body for n in run_pipeline(graph, target, lm.Options(), Remarks()).nodes if n.op.name == "fused")
    buffers = [Buffer(name, float32, shape, role=role) for name, role in (("in0", "in"), ("out0", "out"))]
    kernel = lower_group("reduction", body, buffers[:1], buffers[1:], target, "kernel").verify()
    assert "stack" not in str(kernel)
    x = floats(*shape)
    operand = x.copy()
    result = operand if is_shared else np.full(shape, 77, np.float32)
    run(kernel, {"in0": operand, "out0": result})
    np.testing.assert_allclose(result, graph.evaluate(x)[0], rtol=1e-5)


def test_an_operand_is_not_overwritten_before_it_was_read():
    graph = lm.trace(lambda x: lm.softmax(x) + x, lm.TensorSpec((9, 70)))
    assert "stack" in lm.compile(graph).text("kernels")


@pytest.mark.parametrize("function, shape, loops", [
    (lambda x: lm.mean(x, axis=(2, 3)), (9, 3, 5, 7), ["r3 in 35"]),
    (lambda x: lm.sum(x * x, axis=(0, 2, 3)), (9, 3, 5, 7), ["r0 in 9", "r3 in 35"]),
    (lambda x: lm.softmax(lm.reshape(x, (9, 35))), (9, 5, 7), ["r2 in 35"]),
    (lambda x: lm.sum(x[:, :, :6], axis=(1, 2)), (9, 5, 7), ["r1 in 5", "r2 in 6"]),
    (lambda x: x - lm.max(x, axis=(1, 2), keepdims=True), (9, 5, 7), ["r2 in 35"])],
    ids=["mean", "parted", "softmax", "slice", "full"])
def test_reduced_axes_that_lie_behind_each_other_are_one_loop(function, shape, loops, monkeypatch):
    for module in (reductions, split_reductions):
        monkeypatch.setattr(module, "PART_WORK", 1 << 20)
    graph = lm.trace(function, lm.TensorSpec(shape))
    executable = lm.compile(graph)
    text = executable.text("kernels")
    for loop in loops:
        name, extent = loop.split(" in ")
        assert f"for {name} in {extent} {{" in text, text
    x = floats(*shape)
    np.testing.assert_allclose(executable(x)[0], graph.evaluate(x)[0], rtol=1e-5, atol=1e-5)


def test_reduced_axes_merge_where_extents_are_symbolic():
    graph = lm.trace(lambda x: (lm.mean(x, axis=(1, 2)), x / lm.sum(x, axis=(1, 2), keepdims=True)),
                     lm.TensorSpec(("n", "h", 7)), dims={"n": (1, 40), "h": (1, 30)})
    executable = lm.compile(graph)
    assert "7*h" in executable.text("kernels")
    for n, h in ((1, 1), (9, 13), (40, 2)):
        x = floats(n, h, 7) + 3
        for got, expected in zip(executable(x), graph.evaluate(x)):
            np.testing.assert_allclose(got, expected, rtol=1e-5)
