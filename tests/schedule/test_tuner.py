"""Does the tuner take what is clearly faster, keep what it measured, and end in time?  Clock and times are made up."""

from dataclasses import replace

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.errors import LaminaError
from lamina.compiler.core.options import Options
from lamina.compiler.core.schedule import Schedule
from lamina.compiler.driver import compile_graph
from lamina.compiler.graph.graph import walk
from lamina.compiler.ops.control import Fused
from lamina.compiler.schedule.tuner import Outcome
from lamina.compiler.schedule.trial import label_of
from lamina.compiler.targets.find import find_target
from lamina.runtime.executable import Executable

from ..ops.native import OBJECTS
from ..plan.programs import arrays_of, floats
from .groups import draw, graphs

TARGET = "x86-64-v4"


class FakeBench:
    """A launch takes `seconds(schedule's text, number of the measurement)`; measuring takes `cost` seconds."""

    def __init__(self, seconds, cost: float = 1.0, stop_after: int | None = None):
        self.seconds, self.cost, self.stop_after = seconds, cost, stop_after
        self.now, self.calls, self.known = 100.0, 0, {}
        self.labels: list[list[str]] = []
        self.types = []

    def measure(self, artifact, types):
        if self.stop_after == self.calls:
            raise KeyboardInterrupt
        self.calls += 1
        self.now += self.cost
        self.types.append(types)
        labels = [launch["label"] for launch in artifact.manifest["launches"]]
        self.labels.append([label for label in labels if label.startswith("candidate")])
        return {label: self.seconds(label.removeprefix("candidate "), self.calls) for label in labels}

    def get(self, key):
        return self.known.get(key)

    def put(self, key, data):
        self.known[key] = data

    def clock(self):
        return self.now


def tuned(graph, bench, tune=1000.0, **options):
    """(the graph behind the tuner's groups as text, remarks, manifest)."""
    seen = {}
    artifact = compile_graph(graph, options=Options(target=TARGET, tune=tune, **options), cache=OBJECTS, bench=bench,
                             write=lambda name, text, constants: seen.update({name: text}))
    remarks = [r for r in str(artifact.texts["remarks"]()).splitlines() if r.startswith("[tune]")]
    return seen["tune"], remarks, artifact.manifest


def only(text: str, fast: float = 0.5):
    """Times by which one schedule is faster than the others."""
    return lambda schedule, call: fast if schedule == text else 1.0


def two_products():
    """A product and one of more work, which differ."""
    return lm.trace(lambda x, y: (x @ draw(64, 96), y @ draw(96, 640, seed=1)), floats(32, 64), floats(32, 96))


# ---- the choice ------------------------------------------------------------------------------------------------------
def test_what_is_clearly_faster_is_taken_and_said():
    text, remarks, manifest = tuned(graphs()["product"], FakeBench(only("vectors=2")))
    assert "schedule=schedule(vectors=2)" in text and manifest["tuning"] == {"measured": 1, "left": 0}
    (remark,) = remarks
    assert " by another schedule: done: " in remark
    assert "the heuristic takes 1e+06 us, vectors=2 5e+05 us; it was the best of " in remark


@pytest.mark.parametrize("fast", [0.98, 1.0, 1.5])
def test_what_is_hardly_faster_is_not(fast):
    text, (remark,), _ = tuned(graphs()["product"], FakeBench(only("vectors=2", fast)))
    assert "schedule=" not in text and "not done" in remark and "clearly faster" in remark


def test_noise_does_not_win():
    """Each time another candidate is the lucky one; the second measurement is the other way round and repeats none."""
    def seconds(schedule, call):
        return 0.5 if schedule == {1: "vectors=2", 2: "vectors=1"}.get(call) else 1.0
    bench = FakeBench(seconds)
    text, _, _ = tuned(graphs()["product"], bench)
    assert bench.calls == 2 and "schedule=" not in text
    assert bench.labels[1] == [label for label in reversed(bench.labels[0]) if label in bench.labels[1]]


def test_a_place_in_the_program_does_not_win():
    """The second launch of a program is always faster, whatever it is."""
    bench = FakeBench(None)
    first = {}

    def seconds(schedule, call):
        order = first.setdefault(call, [])
        order.append(schedule)
        return 0.5 if len(order) == 4 else 1.0
    bench.seconds = seconds
    text, _, _ = tuned(graphs()["product"], bench)
    assert "schedule=" not in text


def test_candidates_that_make_the_same_kernel_are_measured_once():
    bench = FakeBench(lambda schedule, call: 1.0)
    tuned(graphs()["product"], bench)
    measured = Outcome.decode(next(iter(bench.known.values()))).times
    assert len(measured) < len(bench.labels[0]) and len(dict(measured)) == len(measured)


def test_what_has_one_kernel_is_not_measured():
    bench = FakeBench(lambda schedule, call: 1.0)
    _, (remark,), manifest = tuned(graphs()["scalar"], bench)
    assert bench.calls == 0 and "all its schedules make the same kernel" in remark and manifest["tuning"]["left"] == 0


def test_equal_groups_are_measured_once():
    graph = lm.trace(lambda x: lm.tanh(lm.tanh(x @ draw(32, 32)) @ draw(32, 32, seed=1)), floats(16, 32))
    bench = FakeBench(only("vectors=1"))
    text, remarks, _ = tuned(graph, bench)
    assert bench.calls == 2 and text.count("schedule=schedule(vectors=1)") == 2 and len(remarks) == 2


def test_weights_are_measured_as_they_will_lie():
    """The product's weights are constants of the program that is measured, packed; its input is not."""
    bench = FakeBench(lambda schedule, call: 1.0)
    tuned(graphs()["product"], bench)
    assert [str(t) for t in bench.types[0]] == ["f32[29, 67]"]


def test_dims_are_measured_at_a_typical_extent():
    bench = FakeBench(lambda schedule, call: 1.0)
    tuned(graphs()["symbolic rows"], bench)
    assert [str(t) for t in bench.types[0]] == ["f32[64, 24]"]


def test_groups_in_loops_are_tuned_too():
    graph = lm.trace(lambda h, xs: lm.scan(lambda c, x: (lm.tanh(c @ draw(48, 48) + x), c), h, xs), floats(8, 48),
                     floats(5, 8, 48))
    text, _, _ = tuned(graph, FakeBench(only("vectors=1")))
    assert "schedule=schedule(vectors=1)" in text


def test_a_schedule_that_the_graph_has_stays():
    from .groups import fused, groups, with_schedule
    graph = fused(graphs()["product"], Options(target=TARGET))
    node = next(n for n in groups(graph) if n.op.kind == "contraction")
    graph = with_schedule(graph, node, Schedule(vectors=2, rows=3))
    bench = FakeBench(only("vectors=1"))
    seen = {}
    compile_graph(graph, options=Options(target=TARGET, tune=9.0), bench=bench, after="fuse", cache=OBJECTS,
                  write=lambda name, text, constants: seen.update({name: text}))
    assert bench.calls == 0 and "schedule(rows=3, vectors=2)" in seen["tune"]


def test_a_dump_of_tuned_groups_goes_on_behind_them():
    from lamina.compiler.pipeline import stages_after
    assert stages_after("tune") == stages_after("fuse")


# ---- time, and what is kept ------------------------------------------------------------------------------------------
def test_the_most_work_comes_first_and_time_is_not_exceeded():
    bench = FakeBench(lambda schedule, call: 1.0, cost=5.0)
    _, remarks, manifest = tuned(two_products(), bench, tune=3.0)
    assert bench.calls == 1 and manifest["tuning"] == {"measured": 1, "left": 1}
    assert [str(t) for t in bench.types[0]] == ["f32[32, 96]"]
    assert sum("not measured: the time was up" in r for r in remarks) == 1


def test_nothing_is_measured_in_no_time():
    bench = FakeBench(lambda schedule, call: 1.0)
    text, remarks, manifest = tuned(two_products(), bench, tune=0.0)
    assert bench.calls == 0 and manifest["tuning"] == {"measured": 0, "left": 2} and "schedule=" not in text


def test_an_interruption_keeps_what_was_measured_and_the_next_time_goes_on():
    bench = FakeBench(only("units=64"), stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        tuned(two_products(), bench)
    assert len(bench.known) == 1
    bench.stop_after, bench.calls, bench.types = None, 0, []
    text, _, manifest = tuned(two_products(), bench)
    assert [str(t) for t in bench.types[0]] == ["f32[32, 64]"] and manifest["tuning"]["left"] == 0
    assert text.count("schedule=schedule(units=64)") == 2
    calls = bench.calls
    assert tuned(two_products(), bench, tune=0.0)[0] == text and bench.calls == calls


def test_what_was_measured_for_another_case_is_not_taken():
    bench = FakeBench(only("vectors=1"))
    tuned(graphs()["product"], bench)
    known = set(bench.known)
    for options in ({"winograd": False}, {"target": "x86-64-v3"}):
        options = Options(**{"target": TARGET, "tune": 9.0, **options})
        compile_graph(graphs()["product"], options=options, bench=bench, cache=OBJECTS)
        assert len(bench.known) > len(known)
        known = set(bench.known)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"times": 3}', b'{"times": [], "taken": {"height": 3}}', b"\xff\x00"])
def test_what_is_damaged_is_measured_again(data):
    bench = FakeBench(only("vectors=2"))
    text, _, _ = tuned(graphs()["product"], bench)
    bench.known = dict.fromkeys(bench.known, data)
    calls = bench.calls
    assert tuned(graphs()["product"], bench)[0] == text and bench.calls > calls


# ---- options ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seconds", [-1, -0.5, float("nan"), float("inf")])
def test_times_that_are_none_are_refused(seconds):
    with pytest.raises(LaminaError, match="Options.tune is"):
        Options(tune=seconds)


def test_tuned_code_has_a_key_of_its_own():
    assert Options(tune=1).key() == Options(tune=60).key() != Options().key()


def test_without_a_bench_it_is_an_error():
    with pytest.raises(LaminaError, match="nothing measures here"):
        compile_graph(graphs()["product"], options=Options(tune=1))


def test_what_does_not_run_here_can_not_be_tuned():
    other = "x86-64-v2" if find_target("host").name == "aarch64" else "aarch64"
    with pytest.raises(lm.UnsupportedError, match=f"does not run {other}"):
        lm.compile(graphs()["product"], options=lm.Options(target=other, tune=1))


# ---- for real --------------------------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_CACHE", "on")
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_a_model_is_tuned_once(folder, monkeypatch):
    from lamina.frontends import tuning
    measured = []
    measure = tuning.CachedBench.measure

    def counted(self, artifact, types):
        measured.append(types)
        return measure(self, artifact, types)
    monkeypatch.setattr(tuning.CachedBench, "measure", counted)
    graph = graphs()["product"]
    arrays = arrays_of(graph)
    first = lm.compile(graph, options=lm.Options(tune=60))
    assert measured and first.artifact.manifest["tuning"] == {"measured": 1, "left": 0}
    np.testing.assert_allclose(first(*arrays)[0], graph.evaluate(*arrays)[0], atol=1e-4)
    count = len(measured)
    assert lm.compile(graph, options=lm.Options(tune=60)).artifact.manifest == first.artifact.manifest
    renamed = replace(graph, name="renamed")  # another model with the same group: its times are known
    lm.compile(renamed, options=lm.Options(tune=0))
    assert len(measured) == count
    assert "tuning" not in lm.compile(graph).artifact.manifest


def test_what_was_left_is_not_kept_as_the_last_word(folder):
    graph = graphs()["product"]
    assert lm.compile(graph, options=lm.Options(tune=0)).artifact.manifest["tuning"]["left"] == 1
    assert lm.compile(graph, options=lm.Options(tune=60)).artifact.manifest["tuning"]["left"] == 0


def test_an_interrupted_profile_interrupts_the_tuner(monkeypatch):
    from lamina.frontends.tuning import CachedBench
    profile = Executable.profile
    monkeypatch.setattr(Executable, "profile", lambda *arguments, **choices:
                        replace(profile(*arguments, **choices), is_interrupted=True))
    with pytest.raises(KeyboardInterrupt):
        lm.compile(graphs()["product"], options=lm.Options(tune=60))
    assert CachedBench(None).get("x") is None


def test_every_kind_of_group_is_measured_on_this_machine(folder):
    """Operands of every dtype are drawn, programs of candidates compile and run."""
    graph = lm.trace(lambda x, i, b: (lm.softmax(lm.where(b, x, -x) @ draw(19, 33)), lm.take(x, i, axis=0), lm.exp(x)),
                     floats(7, 19), floats(5, dtype="int64"), floats(7, 19, dtype="bool"))
    executable = lm.compile(graph, options=lm.Options(tune=60))
    groups = [n for n in walk(graph) if isinstance(n.op, Fused)]
    assert not groups and executable.artifact.manifest["tuning"]["left"] == 0
    arrays = arrays_of(graph)
    for result, expected in zip(executable(*arrays), graph.evaluate(*arrays)):
        np.testing.assert_allclose(result, expected, atol=1e-4)


def test_labels_tell_schedules_apart():
    assert label_of(Schedule()) != label_of(Schedule(rows=1)) != label_of(Schedule(vectors=1))
