"""Does check="each" name the first stage that changes a number, and only such a stage?"""

from dataclasses import replace

import numpy as np
import pytest

import lamina as lm
from lamina.compiler import check, pipeline
from lamina.compiler.core.errors import CompilerError
from lamina.compiler.driver import compile_graph
from lamina.compiler.graph.builder import rebuild
from lamina.compiler.kernel.text import parse_kernel, print_kernel
from lamina.compiler.ops.constant import Constant
from lamina.compiler.plan import place
from lamina.frontends.cached import compile_cached
from lamina.runtime.executable import Executable

from ..plan.programs import floats, models

EACH = lm.Options(check="each")
PASSES = [stage.name for stage in pipeline.STAGES]
WEIGHTS = np.linspace(-1, 1, 8 * 6, dtype=np.float32).reshape(8, 6)


def network(x):
    return lm.softmax(lm.matmul(lm.tanh(x), WEIGHTS) * 1.5, axis=1), lm.argmax(x, axis=1)


def graph_of_network():
    return lm.trace(network, lm.TensorSpec(("batch", 8), "float32", "x"), dims={"batch": (1, 64)})


def break_stage(monkeypatch, name: str, fault) -> None:
    """Have `fault` change the graph that the pass `name` leaves."""
    stages = tuple(replace(s, run=lambda *arguments, run=s.run: fault(run(*arguments))) if s.name == name else s
                   for s in pipeline.STAGES)
    monkeypatch.setattr(pipeline, "STAGES", stages)


def with_other_weights(graph):
    """`graph` with one weight off by a thousandth of the largest."""
    def transform(builder, node, operands):
        if isinstance(node.op, Constant) and node.op.array.size == WEIGHTS.size:
            changed = node.op.array.copy()
            changed[(0,) * changed.ndim] += 1e-3
            return (builder.constant(changed, node.op.label),)
        return None
    return rebuild(graph, transform=transform, fold=False)


@pytest.mark.parametrize("name", models())
def test_what_is_right_passes(name):
    graph = models()[name]
    artifact = compile_graph(graph, options=EACH, load=Executable)
    assert "[check]" not in artifact.texts["remarks"](), "every level ran"


@pytest.mark.parametrize("stage",
                         [s for s in PASSES if s not in ("pack", "materialize", "order", "fuse-horizontal")])  # their weights are packed
def test_the_pass_that_changes_a_number_is_named(stage, monkeypatch):
    break_stage(monkeypatch, stage, with_other_weights)
    with pytest.raises(CompilerError,
                       match=rf"stage '{stage}' changes result 'out0': max error \d\S+ where \d\S+ is allowed, \d+ of "
                                            r"\d+ elements differ, \[\d, \d\] is 0\.\d+ and was 0\.\d+"):
        compile_graph(graph_of_network(), options=EACH)


def test_the_first_of_two_is_named(monkeypatch):
    break_stage(monkeypatch, "layout", with_other_weights)
    break_stage(monkeypatch, "fuse", with_other_weights)
    with pytest.raises(CompilerError, match="stage 'layout' changes"):
        compile_graph(graph_of_network(), options=EACH)


def test_an_integer_that_changes_is_found(monkeypatch):
    def swap(graph):
        from lamina.compiler.ops import ArgReduce
        return rebuild(graph, transform=lambda b, node, operands: b.emit_all(ArgReduce("min", node.op.axis), *operands)
                       if isinstance(node.op, ArgReduce) else None)
    break_stage(monkeypatch, "canonicalize", swap)
    with pytest.raises(CompilerError,
                       match=r"stage 'canonicalize' changes result 'out1': max error \d where 0 is allowed"):
        compile_graph(graph_of_network(), options=EACH)


def test_another_type_is_found(monkeypatch):
    def narrow(graph):
        from lamina.compiler.core.dtypes import int32
        from lamina.compiler.graph.builder import Builder
        from lamina.compiler.ops import Cast
        builder = Builder(graph.name)
        env = dict(zip(graph.params, [builder.parameter(p.type, p.name) for p in graph.params]))
        for node in graph.nodes:
            env.update(zip(node.results, builder.emit_all(node.op, *(env[o] for o in node.operands))))
        first, second = (env[r] for r in graph.results)
        return builder.finish([first, builder.emit(Cast(int32), second)], graph.output_names)
    break_stage(monkeypatch, "padding", narrow)
    with pytest.raises(CompilerError,
                       match=r"stage 'padding' changes result 'out1': it is int32\[\d\], int64\[\d\] was expected"):
        compile_graph(graph_of_network(), options=EACH)


def test_a_kernel_that_changes_a_number_is_found(monkeypatch):
    def lower_group(*arguments):
        kernel = lower(*arguments)
        return parse_kernel(print_kernel(kernel).replace("1.5", "1.501"))
    lower = place.lower_group
    monkeypatch.setattr(place, "lower_group", lower_group)
    with pytest.raises(CompilerError, match="^kernels/program changes result 'out0'"):
        compile_graph(lm.trace(lambda x: lm.tanh(x) + 1.5, floats(3, 4)), options=EACH)


def test_native_code_that_changes_a_number_is_found():
    def load(artifact):
        run = Executable(artifact)

        def wrong(*arrays):
            first, second = run(*arrays)
            first[0, 0] += 1e-3
            return first, second
        return wrong
    with pytest.raises(CompilerError,
                       match=r"^native changes result 'out0': max error 0.001 where .* is allowed, 1 of \d+ elements "
                                            r"differ, \[0, 0\]"):
        compile_graph(graph_of_network(), options=EACH, load=load)


def test_the_public_option_checks(monkeypatch):
    lm.compile(graph_of_network(), options=EACH)
    break_stage(monkeypatch, "fuse", with_other_weights)
    with pytest.raises(CompilerError, match="stage 'fuse' changes result 'out0'"):
        lm.compile(graph_of_network(), options=EACH)
    lm.compile(graph_of_network())


def test_levels_that_can_not_run_leave_a_remark(monkeypatch):
    monkeypatch.setattr(check, "MOST_OPERATIONS", 10)
    remarks = compile_graph(graph_of_network(), options=EACH).texts["remarks"]()
    assert "[check] kernels/program: not done: " in remarks and "operations are too many for its interpreter" in remarks
    assert "[check] native: not done: nothing here runs code for this target" in remarks
    artifact = compile_cached(graph_of_network(), options=lm.Options(check="each", target="aarch64-linux"), cache=None)
    assert "[check] native: not done" in artifact.texts["remarks"]()


# ---- inputs and tolerances -------------------------------------------------------------------------------------------
def test_inputs_are_small_and_inside_of_their_facts():
    graph = lm.trace(lambda x, i: lm.take(x, i, axis=0), floats("n", "m", 4), lm.TensorSpec(("k",), "int64"),
                     dims={"n": (1, 64), "m": (16, 512, 8), "k": (2, 3)})
    reference = check.Reference(graph)
    assert reference.extents == {"n": 2, "m": 16, "k": 3}
    x, i = reference.arrays
    assert x.shape == (2, 16, 4) and i.dtype == np.int64 and 0 <= i.min() and i.max() < check.INTEGERS
    again = check.Reference(graph)
    for a, b in zip(reference.arrays, again.arrays):
        np.testing.assert_array_equal(a, b)


def test_logarithms_get_positive_inputs():
    reference = check.Reference(lm.trace(lambda x: lm.log(x) + lm.sqrt(x), floats(50)))
    assert reference.arrays[0].min() > 0


def test_tolerances_follow_what_rounding_does():
    """A sum that cancels is allowed more than its own size says; one that does not is not."""
    good = check.Reference(lm.trace(lambda x: lm.sum(x * x), floats(64))).expected[0]
    bad = check.Reference(lm.trace(lambda x: lm.sum((x + 1e4) - 1e4), floats(64))).expected[0]
    assert good.tolerance < 1e-4 * np.abs(good.array).max()
    assert bad.tolerance > 1e-3


def test_what_rounding_decides_is_not_compared():
    graph = lm.trace(lambda x: (lm.floor(x / 3 * 3 + 1e-9).astype("int32"), lm.argmax(x)), floats(64))
    reference = check.Reference(graph)
    array = [np.round(reference.arrays[0] * 100)]
    reference.arrays = array
    expected = check.expect("r", np.floor(array[0]).astype(np.int32),
                               [np.floor(array[0]).astype(np.int32) - (np.arange(64) == 3)])
    assert expected.unstable.sum() == 1
    got = expected.array.copy()
    got[3] -= 1
    reference.expected = [expected]
    assert reference.difference([got]) is None
    got[4] -= 1
    assert "1 of 64 elements differ, [4]" in reference.difference([got])


def test_nan_and_infinity_are_values():
    def values(*numbers):
        return np.array(numbers, np.float32)
    graph = lm.trace(lambda x: x * 1, floats(3))
    reference = check.Reference(graph)
    reference.expected = [check.expect("r", values(np.nan, np.inf, 1), [values(np.nan, np.inf, 1)])]
    assert reference.difference([values(np.nan, np.inf, 1)]) is None
    for wrong in (values(0, np.inf, 1), values(np.nan, -np.inf, 1), values(np.nan, np.inf, np.nan),
                  values(np.nan, 3, 1)):
        assert "1 of 3 elements differ" in reference.difference([wrong])
