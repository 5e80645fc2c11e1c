"""Does a bisection name the value, the pass or the kernel that is wrong, and nothing where all is right?"""

from dataclasses import replace

import numpy as np
import pytest

import lamina as lm
from lamina.compiler import driver, pipeline
from lamina.compiler.codegen import module
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.graph.builder import rebuild
from lamina.compiler.lower import group
from lamina.compiler.ops.constant import Constant
from lamina.compiler.ops.elementwise import Tanh
from lamina.compiler.plan import memory
from lamina.frontends.bisect import bisect
from lamina.frontends.bisect.finding import ulps

from ..plan.programs import models

WEIGHTS = np.linspace(-1, 1, 8 * 6, dtype=np.float32).reshape(8, 6)
X = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)


def network(x):
    return lm.softmax(lm.exp(lm.tanh(x)) @ WEIGHTS, axis=1)


def stacked(x):
    hidden = lm.softmax(lm.exp(x) @ WEIGHTS, axis=1)
    return lm.softmax(lm.tanh(hidden) @ WEIGHTS.T, axis=1)


@pytest.mark.parametrize("reference", ["f64", "interpreter"])
@pytest.mark.parametrize("name", models())
def test_what_is_right_agrees(name, reference):
    graph = models()[name]
    from lamina.compiler.check import random_inputs, small_extents
    found = bisect(graph, *random_inputs(graph, small_extents(graph), True), reference=reference)
    assert found.agrees and found.finding is None, str(found)
    assert found.data()["agrees"] and len(found.largest_ulps) == len(graph.results)


# ---- kernels ---------------------------------------------------------------------------------------------------------
def test_a_wrong_lowering_is_named_with_its_operator(monkeypatch):
    monkeypatch.setattr(Tanh, "scalar", lambda self, x: x)
    found = bisect(stacked, X)
    finding = found.finding
    assert not found.agrees and finding.stage == "kernel" and finding.launch == 2
    assert "test_search.py" in finding.location and finding.difference.ulps > 1000 and finding.difference.wrong > 10
    assert any("the lowering is to blame" in note for note in finding.notes)
    text = str(found)
    assert f"kernel {finding.name} (launch {finding.launch})" in text and "expected" in text and "ulp" in text


def test_the_operator_inside_of_a_group_is_named(monkeypatch):
    monkeypatch.setattr(Tanh, "scalar", lambda self, x: x)
    (note, *_) = bisect(network, X).finding.notes
    assert "in a kernel of its own, tanh" in note and "test_search.py" in note


def test_what_is_wrong_only_as_it_is_fused_is_said_to_be(monkeypatch):
    lower = group.lower_pointwise

    def without_tanh(body, *arguments):
        if len(body.nodes) > 1:
            body = rebuild(body, transform=lambda builder, node, operands: operands if isinstance(node.op, Tanh) else None)
        return lower(body, *arguments)
    monkeypatch.setattr(group, "lower_pointwise", without_tanh)
    finding = bisect(network, X).finding
    assert finding.stage == "kernel" and "wrong only as it is fused" in finding.notes[0]


def test_wrong_code_is_told_from_wrong_loops(monkeypatch):
    make = module.kernel_module

    def broken(kernel, *arguments):
        text = make(kernel, *arguments)
        return text.replace(" fadd ", " fsub ") if "softmax" in kernel.name or "reduce" in kernel.name else text
    monkeypatch.setattr(driver, "kernel_module", broken)
    monkeypatch.setattr(module, "kernel_module", broken)
    finding = bisect(network, X).finding
    assert finding.stage == "kernel" and "reduce" in finding.name and any("the code generation is to blame" in note for note in finding.notes)


def test_the_first_of_two_wrong_kernels_is_named(monkeypatch):
    monkeypatch.setattr(Tanh, "scalar", lambda self, x: x)
    finding = bisect(lambda x: lm.sum(lm.tanh(lm.softmax(lm.tanh(x) @ WEIGHTS)), axis=0), X).finding
    assert finding.launch == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats(monkeypatch, dtype):
    def function(x):
        return lm.tanh(x) + 1
    x = np.linspace(-1, 1, 5).astype(as_dtype(dtype).numpy)
    assert bisect(function, x).agrees
    monkeypatch.setattr(Tanh, "scalar", lambda self, x: x)
    assert bisect(function, x).finding.stage == "kernel"


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (7, 1, 5)])
def test_odd_shapes(shape):
    x = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    assert bisect(lambda x: ((x * 3) // 2, lm.exp(x.astype("float32")).sum(), x > 2, x), x).agrees


def test_symbolic_dims_and_loops(monkeypatch):
    graph = lm.trace(lambda x: lm.fori_loop(0, 3, lambda i, v: lm.tanh(v) * 0.5, x), lm.TensorSpec(("n=1..9", 4)))
    x = X[:, :4]
    assert bisect(graph, x).agrees
    monkeypatch.setattr(Tanh, "scalar", lambda self, x: x)
    finding = bisect(graph, x).finding
    assert finding.stage == "kernel" and "tanh" in finding.name


# ---- passes ----------------------------------------------------------------------------------------------------------
def with_other_weights(graph):
    """`graph` with one weight off by a hundredth."""
    def transform(builder, node, operands):
        if isinstance(node.op, Constant) and node.op.array.size == WEIGHTS.size:
            changed = node.op.array.copy()
            changed[(0,) * changed.ndim] += 1e-2
            return (builder.constant(changed, node.op.label),)
        return None
    return rebuild(graph, transform=transform, fold=False)


@pytest.mark.parametrize("name", [s.name for s in pipeline.STAGES if s.name not in ("pack", "materialize", "order", "fuse-horizontal")])
def test_the_pass_that_changes_a_number_is_named(monkeypatch, name):
    stages = tuple(replace(s, run=lambda *a, run=s.run: with_other_weights(run(*a))) if s.name == name else s for s in pipeline.STAGES)
    monkeypatch.setattr(pipeline, "STAGES", stages)
    finding = bisect(network, X).finding
    assert (finding.stage, finding.name) == ("pass", name) and finding.operator in ("constant", "contract")
    assert "test_search.py" in finding.location and finding.difference.wrong > 0


# ---- around the kernels ----------------------------------------------------------------------------------------------
def long_lived(x):
    hidden = first = lm.softmax(lm.exp(x) @ WEIGHTS, axis=1)
    for weights in (WEIGHTS.T, WEIGHTS, WEIGHTS.T, WEIGHTS):
        hidden = lm.softmax(lm.exp(hidden) @ weights, axis=1)
    return lm.sum(hidden * first, axis=0)


def with_offsets(monkeypatch, move) -> None:
    """Have the memory plan place slot number i of those in the order of their first use at `move(i, slots)`."""
    plan = memory.plan_memory

    def moved(*arguments):
        found = plan(*arguments)
        slots = sorted(found.slots, key=lambda slot: slot.storage.first)
        return replace(found, slots=tuple(replace(slot, offset=move(i, slots)) for i, slot in enumerate(slots)), arena_bytes=1 << 16)
    monkeypatch.setattr(memory, "plan_memory", moved)


def test_memory_that_is_overwritten_before_it_is_read(monkeypatch):
    def onto_the_longest_lived(i, slots):
        kept = max(slots, key=lambda slot: slot.storage.last - slot.storage.first)
        later = next(slot for slot in slots if slot.storage.first > kept.storage.first)
        return 0 if slots[i] in (kept, later) else 512 * (i + 1)
    with_offsets(monkeypatch, onto_the_longest_lived)
    finding = bisect(long_lived, X).finding
    assert finding.stage == "memory" and finding.launch > 3 and "in the slot of" in finding.value


def test_memory_that_a_kernel_overwrites_while_it_reads(monkeypatch):
    with_offsets(monkeypatch, lambda i, slots: 0)
    finding = bisect(long_lived, X).finding
    assert finding.stage == "memory" and finding.notes == ("where no two slots share memory it is right",)


def test_a_wrong_host_program_is_found(monkeypatch):
    make = driver.host_module

    def without_last_launch(*arguments):
        lines = make(*arguments).split("\n")
        del lines[max(i for i, line in enumerate(lines) if "call void @lamina_k" in line)]
        return "\n".join(lines)
    monkeypatch.setattr(driver, "host_module", without_last_launch)
    finding = bisect(network, X).finding
    assert finding.stage == "host program" and finding.notes


# ---- references ------------------------------------------------------------------------------------------------------
def test_outputs_from_elsewhere():
    good = lm.trace(network, lm.TensorSpec((5, 8))).evaluate(X)[0]
    assert bisect(network, X, reference={"out0": good}).agrees
    finding = bisect(network, X, reference={"out0": good + 1}).finding
    assert finding.stage == "reference" and finding.operator == "div" and finding.difference.wrong == good.size
    with pytest.raises(lm.LaminaError, match="has shape"):
        bisect(network, X, reference={"out0": good[:2]})


def test_roundings_that_the_model_amplifies_are_no_error():
    found = bisect(lambda x: lm.sin(lm.exp(lm.exp(x * 2.0))), np.linspace(1, 1.4, 40, dtype=np.float32))
    assert found.agrees and any("amplifies" in remark for remark in found.remarks)


def test_nan_and_infinity_are_values():
    x = np.array([np.nan, np.inf, -np.inf, 0, 1e-40, 3], np.float32)
    assert bisect(lambda x: lm.where(x > 0, lm.log(x), lm.exp(x)), x).agrees


def test_onnxruntime_names_the_node(monkeypatch):
    pytest.importorskip("onnxruntime")
    from lamina.frontends.onnx import table
    from onnx import TensorProto, helper
    graph = helper.make_graph([helper.make_node("Exp", ["x"], ["e"], "first"), helper.make_node("Softplus", ["e"], ["s"], "second"),
                               helper.make_node("Neg", ["s"], ["y"], "third")], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 8])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 8])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert bisect(model, X, reference="onnxruntime").agrees
    (operator,) = table._TABLE["", "Softplus"]
    monkeypatch.setitem(table._TABLE, ("", "Softplus"), [replace(operator, function=lambda x: lm.relu(x))])
    finding = bisect(model, X, reference="onnxruntime").finding
    assert finding.stage == "reference" and finding.location == "node 'second'" and finding.value.startswith("s: ")


def test_mistakes_in_the_call():
    with pytest.raises(lm.LaminaError, match="no reference"):
        bisect(network, X, reference="tensorflow")
    with pytest.raises(lm.LaminaError, match="2 arrays were given"):
        bisect(lm.trace(network, lm.TensorSpec((5, 8))), X, X)
    with pytest.raises(lm.LaminaError, match="ONNX models alone"):
        bisect(network, X, reference="onnxruntime")


# ---- units in the last place -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_ulps(dtype):
    one = np.ones((), dtype)
    assert ulps(one, np.nextafter(one, one * 2), dtype) == 1 and ulps(one, one, dtype) == 0
    values = np.array([np.nan, np.inf, np.nan, 0.0], dtype)
    assert list(ulps(values, np.array([np.nan, np.inf, 1, -0.0], dtype), dtype)) == [0, 0, np.inf, 0]
    assert ulps(np.int32(3), np.int32(-4), "int32") == 7
