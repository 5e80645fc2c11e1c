"""Does a profile count every launch with its work, whatever loops and branches do, and leave the model as it was?"""

import json

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.errors import ShapeError
from lamina.runtime import profile as profiling
from lamina.runtime.executable import Executable
from lamina.runtime.package import load_artifact
from lamina.runtime.profile import Roofline

MACHINE = Roofline({"float32": 1e11, "float64": 5e10}, ((1e3, 1e11), (1e6, 1e10)))


def profiled(executable, *arrays, **keywords):
    return executable.profile(*arrays, **{"seconds": 0.0, "roofline": MACHINE, **keywords})


def ones(*shape):
    return np.ones(shape, np.float32)


def numbers(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def test_a_product_has_its_operations_and_bytes():
    executable = lm.compile(lambda x: x @ numbers(32, 64), lm.TensorSpec(("rows", 32)))
    (row,) = profiled(executable, ones(5, 32)).rows
    assert (row.count, row.flops, row.bytes) == (1, 2 * 5 * 32 * 64, 4 * (5 * 32 + 32 * 64 + 5 * 64))
    assert 0 < row.minimum <= row.seconds and row.line.startswith(__file__) and row.layer == "<lambda>"
    assert executable.kernels[0]["weight_bytes"] == 4 * 32 * 64
    (wider,) = profiled(executable, ones(7, 32)).rows
    assert wider.flops == 2 * 7 * 32 * 64, "of the extents of the call"


def test_a_table_counts_by_the_rows_that_are_looked_up():
    table = numbers(1000, 16)
    executable = lm.compile(lambda i: lm.take(table, i, axis=0), lm.TensorSpec((3,), lm.int32))
    (row,) = profiled(executable, np.array([1, 5, 9], np.int32)).rows
    assert row.bytes == 3 * 4 + 2 * 3 * 16 * 4


def test_a_fused_kernel_belongs_to_the_line_with_the_most_operations():
    def model(x, w):
        y = x @ w
        return lm.tanh(y + 1)
    executable = lm.compile(model, lm.TensorSpec((16, 16)), lm.TensorSpec((16, 16)))
    first = model.__code__.co_firstlineno + 1
    assert [line.rpartition(":")[2] for line in executable.kernels[0]["lines"]] == [f"{first} in model",
                                                                                    f"{first + 1} in model"]
    assert executable.kernels[0]["ops"] == ["contract", "add", "tanh"]


def test_loops_count_launches_times_steps():
    def model(x, ys):
        return lm.scan(lambda c, y: (lm.tanh(c @ x + y), lm.sum(y)), ys[0], ys)
    executable = lm.compile(model, lm.TensorSpec((8, 8)), lm.TensorSpec((7, 8)))
    profile = profiled(executable, ones(8, 8), ones(7, 8))
    product = next(r for r in profile.rows if "contract" in r.kernel)
    assert product.count == 7 and product.flops == 7 * (2 * 8 * 8 + 8 + 8)
    assert len(profile.events) == sum(r.count for r in profile.rows)


def test_a_condition_decides_how_often():
    doubling = lm.compile(lambda x: lm.while_loop(lambda v: lm.sum(v) < 100, lambda v: v * 2, x), lm.TensorSpec((4,)))
    counts = {r.label: r.count for r in profiled(doubling, ones(4)).rows}
    assert counts["mul"] == 5 and counts[next(label for label in counts if label.startswith("reduce"))] == 6
    choose = lm.compile(lambda i, x: lm.cond(i, lambda v: lm.exp(v), lambda v: lm.sin(v), x),
                        lm.TensorSpec((), lm.bool), lm.TensorSpec((4,)))
    rows = {r.label: r for r in profiled(choose, np.array(True), ones(4)).rows}
    assert (rows["exp"].count, rows["sin"].count) == (1, 0)
    assert rows["sin"].seconds == 0 and rows["sin"].share is None and rows["sin"].flops == 0


def test_nothing_to_launch():
    profile = profiled(lm.compile(lambda x: x, lm.TensorSpec((0,))), ones(0))
    assert profile.rows == () and profile.text() and json.dumps(profile.trace()) and profile.call_seconds > 0


def test_the_model_is_left_as_it_was():
    executable = lm.compile(lambda x, y: x + y, lm.TensorSpec((5,)), lm.TensorSpec((5,)), donate=(0,))
    x, y = ones(5), ones(5)
    profiled(executable, x, y)
    assert (x == 1).all(), "runs of a profile take copies of what is donated"
    assert (executable(x, y)[0] == 2).all()


def test_wrong_arrays_are_refused_as_in_a_call():
    executable = lm.compile(lambda x: lm.exp(x), lm.TensorSpec((5,)))
    with pytest.raises(ShapeError, match="float32\\[5\\] was expected"):
        executable.profile(ones(6))


def test_a_model_that_fails_half_way_can_still_be_run():
    executable = lm.compile(lambda x: lm.softmax(x[:, None] * x[None, :]) @ x, lm.TensorSpec(("n",)))
    with pytest.raises(MemoryError, match="Unable to allocate"):
        executable.profile(ones(2_000_000))  # a table of 2,000,000 x 2,000,000
    assert executable(ones(2))[0].tolist() == [1, 1]
    assert executable.profile(ones(2), seconds=0).runs >= profiling.LEAST_RUNS


def test_a_loaded_artifact_is_profiled_as_it_is(tmp_path):
    executable = lm.compile(lambda x: lm.exp(x), lm.TensorSpec((5,)))
    executable.save(tmp_path / "m.lam")
    profile = Executable(load_artifact(tmp_path / "m.lam")).profile(ones(5), seconds=0.0)
    assert [r.label for r in profile.rows] == ["exp"] and profile.roofline is None and profile.rows[0].share is None
    assert "roofline" not in profile.summary()


def test_an_interrupted_profile_keeps_what_it_measured(monkeypatch):
    executable = lm.compile(lambda x: lm.exp(x), lm.TensorSpec((5,)))
    clock, calls = profiling.time.perf_counter_ns, []

    def interrupted():
        calls.append(None)
        if len(calls) == 4 * 3 + 2:  # in the fourth round, between its two runs
            raise KeyboardInterrupt
        return clock()
    monkeypatch.setattr(profiling.time, "perf_counter_ns", interrupted)
    profile = executable.profile(ones(5), seconds=60.0, roofline=MACHINE)
    assert profile.is_interrupted and profile.runs == 3 and profile.rows[0].seconds > 0
    assert "interrupted" in profile.summary()
    calls[:] = [None] * 4 * 3 + [None]
    with pytest.raises(KeyboardInterrupt):
        executable.profile(ones(5), seconds=60.0, roofline=MACHINE)


def test_a_trace_is_a_run_in_order(tmp_path):
    def model(x):
        return lm.tanh(x @ x) @ x
    profile = profiled(lm.compile(model, lm.TensorSpec((16, 16))), ones(16, 16))
    profile.save_trace(tmp_path / "t.json")
    trace = json.loads((tmp_path / "t.json").read_text())
    kernels = [e for e in trace["traceEvents"] if e.get("cat") == "kernel"]
    assert [e["args"]["launch"] for e in kernels] == [r.launch for r in profile.rows] and len(kernels) >= 2
    assert all(a["ts"] + a["dur"] <= b["ts"] + 1e-3 and a["dur"] > 0 for a, b in zip(kernels, kernels[1:]))
    (layer,) = [e for e in trace["traceEvents"] if e.get("cat") == "layer"]
    assert layer["name"] == "model" and layer["ts"] == kernels[0]["ts"]
    assert layer["ts"] + layer["dur"] == pytest.approx(kernels[-1]["ts"] + kernels[-1]["dur"])


def test_a_trace_has_a_limit(monkeypatch):
    monkeypatch.setattr(profiling, "MOST_EVENTS", 2)
    executable = lm.compile(lambda x: lm.fori_loop(0, 5, lambda i, v: v * 2, x), lm.TensorSpec((4,)))
    profile = profiled(executable, ones(4))
    assert len(profile.events) == 2 and profile.trace()["otherData"]["events left out"] == profile.missing_events > 0


def test_parts_add_up():
    profile = profiled(lm.compile(lambda x: lm.tanh(x @ x) @ x, lm.TensorSpec((16, 16))), ones(16, 16))
    for by in ("line", "layer", "kernel"):
        parts = profile.parts(by)
        assert sum(p.seconds for p in parts) == pytest.approx(profile.kernel_seconds)
        assert sum(p.flops for p in parts) > 2 * 2 * 16 ** 3
        assert len(profile.text(by).splitlines()) == len(parts) + 3
    with pytest.raises(ValueError, match='"layer"'):
        profile.parts("colour")
    data = json.loads(json.dumps(profile.to_json(), allow_nan=False))
    assert len(data["launches"]) == len(profile.rows) and data["roofline"]["flops"] == MACHINE.flops


def test_layers_are_cut_at_a_depth():
    row = profiling.Row(0, "k", "k", "", "encoder/layer.0/attention", 1, 1.0, 1.0, 1, 1)
    profile = profiling.Profile("m", (row, profiling.Row(1, "k", "k", "", "encoder/layer.1", 1, 2.0, 1.0, 1, 1)), 3.0,
                                0.0, 5, 0)
    assert [p.name for p in profile.parts("layer", 1)] == ["encoder"]
    assert [p.name for p in profile.parts("layer", 2)] == ["encoder/layer.1", "encoder/layer.0"]


# ---- the roofline ----------------------------------------------------------------------------------------------------
def test_what_bounds_a_launch():
    assert MACHINE.seconds(10**9, "float32", 1000, 0, 0) == (pytest.approx(1e-2), "compute")
    assert MACHINE.seconds(10**9, "float64", 1000, 0, 0) == (pytest.approx(2e-2), "compute")
    assert MACHINE.seconds(10**9, "int8", 1000, 0, 0) == (pytest.approx(1e-8), "memory"), "no peak is measured for it"
    assert MACHINE.seconds(0, "float32", 10**6, 0, 0) == (pytest.approx(1e-4), "memory")


def test_weights_come_from_where_the_whole_model_fits():
    assert MACHINE.bandwidth_for(1e9) == pytest.approx(1e10) and MACHINE.bandwidth_for(0) == pytest.approx(1e11)
    assert 1e10 < MACHINE.bandwidth_for(1e5) < 1e11
    warm, cold = (MACHINE.seconds(0, "float32", 2000, 1000, footprint)[0] for footprint in (0, 10**9))
    assert warm == pytest.approx(2e-8) and cold == pytest.approx(1e-8 + 1e-7)


def test_this_machine_is_measured_once():
    from lamina.frontends.compile import measure_roofline
    found = measure_roofline(1)
    assert found is measure_roofline(1) and found.flops["float32"] > 0 and len(found.bandwidth) == 7
    profile = lm.compile(lambda x: x @ x, lm.TensorSpec((64, 64))).profile(ones(64, 64), threads=1, seconds=0.0)
    assert profile.roofline is found and profile.rows[0].share > 0 and profile.rows[0].bound in ("compute", "memory")
