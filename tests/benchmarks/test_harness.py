"""Do the benchmarks measure what they say?  Statistics, tables, and interleaved runs of trivial contenders."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lamina

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from compile_time import measure_starts  # noqa: E402
from harness.compare import Result, Settings, compare  # noqa: E402
from harness.correctness import relative_error  # noqa: E402
from harness.options import make_parser, parse_contenders, parse_threads, parse_workloads, zoo_cases  # noqa: E402
from harness.process import ContenderSpec, WorkerError, WorkerProcess  # noqa: E402
from harness.record import Record  # noqa: E402
from harness.report import best_peer, failure_lines, group, ratio, summarize_ratios, time_table  # noqa: E402
from harness.resident import read_resident  # noqa: E402
from harness.statistics import Sample, geometric_mean, keep_clean, summarize  # noqa: E402
from harness.steps import LOSSES, STEPS, make_step, write_step  # noqa: E402
from harness.table import format_table, format_time  # noqa: E402
from harness.trainers import CHECKED, LaminaTrainer  # noqa: E402
from harness.workloads import CALL_OVERHEAD, KERNELS, MODELS, Case, find_cases, write_call_overhead  # noqa: E402
from growth import measure_growth, row  # noqa: E402
from load import beside, measure_load  # noqa: E402
from memory import above_base, measure_memory, planned  # noqa: E402

SETTINGS = Settings(rounds=3, extra_rounds=0, burst_seconds=0.01, burst_calls=4, gap_seconds=(0.001, 0.002),
                    load_timeout=30)


def result(workload: str, contender: str, seconds: float, error: float = 0.0) -> Result:
    """A result with the given median."""
    return Result(workload, 1, contender, summary=summarize([Sample(seconds, 0)]), relative_error=error)


def spec(name: str) -> ContenderSpec:
    """A trivial contender, named like its class."""
    return ContenderSpec(name, f"trivial_contenders:{name}", sys.executable, (str(Path(__file__).parent),))


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """A case whose reference is twice its input."""
    monkeypatch.setenv("BENCHMARK_TEST_LOG", str(tmp_path / "calls.log"))
    (tmp_path / "double.onnx").write_bytes(b"read by nobody")
    values = np.arange(4, dtype=np.float32)
    np.savez(tmp_path / "double.npz", in0=values, ref_out0=2 * values)
    (found,), missing = find_cases(tmp_path, ["double", "absent"])
    assert missing == ["absent"]
    return found


class TestStatistics:
    def test_preempted_samples_are_dropped(self):
        samples = [Sample(1.0, 0)] * 8 + [Sample(100.0, 1)] * 20
        summary = summarize(samples)
        assert (summary.median, summary.kept, summary.count, summary.is_disturbed) == (1.0, 8, 28, False)

    def test_the_less_disturbed_half_stays_when_few_are_clean(self):
        samples = [Sample(1.0, 0)] * 2 + [Sample(2.0, 1)] * 4 + [Sample(9.0, 40)] * 5
        assert keep_clean(samples) == (samples[:6], True)
        assert summarize(samples).median == 2.0

    def test_a_small_share_of_clean_samples_is_not_enough(self):
        samples = [Sample(1.0, 0)] * 10 + [Sample(3.0, 2)] * 90
        assert keep_clean(samples) == (samples, True)

    def test_few_but_clean_samples_are_undisturbed(self):
        assert keep_clean([Sample(1.0, 0)]) == ([Sample(1.0, 0)], False)

    def test_quartiles(self):
        summary = summarize([Sample(float(v), 0) for v in (5, 1, 4, 2, 3)])
        assert (summary.minimum, summary.lower_quartile, summary.median, summary.upper_quartile) == (1, 2, 3, 4)

    def test_no_samples_is_an_error(self):
        with pytest.raises(ValueError, match="no samples"):
            summarize([])

    def test_geometric_mean_of_a_ratio_and_its_inverse_is_one(self):
        assert geometric_mean([4.0, 0.25]) == pytest.approx(1.0)
        assert geometric_mean([]) is None


class TestCorrectness:
    def test_error_is_relative_to_the_largest_number(self):
        assert relative_error([np.array([1.0, 101.0])], [np.array([0.0, 100.0])]) == pytest.approx(0.01)

    @pytest.mark.parametrize("outputs", [
        [], [np.zeros(3)], [np.array([np.nan, 1.0])], [np.array([np.inf, 1.0])]])
    def test_missing_outputs_other_shapes_and_nan_are_wrong(self, outputs):
        assert relative_error(outputs, [np.array([0.0, 1.0])]) == float("inf")

    def test_infinities_of_the_reference_must_be_met(self):
        reference = [np.array([-np.inf, 2.0])]
        assert relative_error(reference, reference) == 0.0
        assert relative_error([np.array([np.inf, 2.0])], reference) == float("inf")

    def test_empty_outputs_agree(self):
        assert relative_error([np.zeros((0, 3))], [np.zeros((0, 3))]) == 0.0


class TestTables:
    def test_columns_are_aligned(self):
        assert format_table(["ms", "a"], [["model", "1.5"], ["x", "10"]]) == (
            "| ms    |   a |\n"
            "| ----- | --: |\n"
            "| model | 1.5 |\n"
            "| x     |  10 |")

    @pytest.mark.parametrize(("seconds", "text"), [
        (None, "-"), (12.3e-6, "0.0123"), (0.5e-3, "0.500"), (4.5678e-3, "4.57"), (0.0456, "45.6"), (1.5, "1500")])
    def test_times_have_three_digits(self, seconds, text):
        assert format_time(seconds) == text

    def test_ratios_wins_and_losses(self):
        results = [
            result("won", "lamina", 1.0), result("won", "onnxruntime", 2.0), result("won", "torch", 4.0),
            result("lost", "lamina", 3.0), result("lost", "onnxruntime", 6.0), result("lost", "torch", 1.5),
            result("tied", "lamina", 1.0), result("tied", "onnxruntime", 1.01)]
        grid = group(results, threads=1)
        summary = summarize_ratios(grid, "lamina")
        assert (summary["wins"], summary["ties"], summary["losses"]) == (1, 1, 1)
        assert summary["to_best_peer"] == pytest.approx((0.5 * 2.0 / 1.01) ** (1 / 3))
        assert summary["to_onnxruntime"] == pytest.approx((0.5 * 0.5 / 1.01) ** (1 / 3))
        lines = time_table(grid, "lamina", ["lamina", "onnxruntime", "torch"]).splitlines()
        assert [cell.strip() for cell in lines[3].strip("|").split("|")] == [
            "lost", "3000", "6000", "1500*", "2.00", "0.50"]

    def test_a_wrong_peer_is_not_the_best(self):
        row = group([result("m", "lamina", 2.0), result("m", "torch", 1.0, error=0.5),
                     result("m", "openvino", 4.0)], threads=1)["m"]
        assert best_peer(row, "lamina").contender == "openvino"
        assert ratio(row, "lamina", row["torch"]) is None

    def test_a_wrong_subject_has_no_ratio_and_is_named(self):
        results = [result("m", "lamina", 0.1, error=1.0), result("m", "onnxruntime", 1.0)]
        summary = summarize_ratios(group(results, 1), "lamina")
        assert summary["to_best_peer"] is None and summary["without_result"] == 1
        assert failure_lines(results) == "- m, 1 thread(s), lamina: wrong output, relative error 1e+00"

    def test_thread_counts_and_the_call_overhead_stay_apart(self):
        results = [result("m", "lamina", 1.0), result(CALL_OVERHEAD, "lamina", 1e-6)]
        assert list(group(results, 1)) == ["m"] and group(results, 2) == {}


class TestWorkloads:
    def test_names_are_unique_and_kernels_have_work(self):
        assert len(set(MODELS)) == len(MODELS)
        assert all(kernel.bytes > 0 for kernel in KERNELS.values())

    def test_work_of_known_kernels(self):
        assert KERNELS["gemm_256"].flops == 2 * 256**3
        assert KERNELS["conv_r50_7x7s2_3_64_224"].flops == 2 * 112 * 112 * 64 * 3 * 49
        assert KERNELS["conv_mb_dw3x3_144_56"].flops == 2 * 144 * 9 * 56 * 56
        assert KERNELS["chain8_16M"].bytes == 3 * 4 * 2**24

    def test_call_overhead_model_doubles(self, tmp_path):
        reference = pytest.importorskip("onnx.reference")
        written = write_call_overhead(tmp_path)
        with np.load(written.data) as data:
            outputs = reference.ReferenceEvaluator(written.model).run(None, {"in0": data["in0"]})
            assert relative_error(outputs, [data["ref_out0"]]) == 0.0


class TestProcesses:
    def test_two_contenders_take_turns_and_never_overlap(self, case, tmp_path):
        fast, slow = compare(case, [spec("Doubler"), spec("SlowDoubler")], 1, SETTINGS)
        assert fast.error is None and slow.error is None
        assert fast.relative_error == 0.0 and fast.artifact_bytes == 42 and fast.version == "1"
        assert fast.seconds >= 0.001 and slow.seconds >= 0.005  # what they sleep, at least
        assert fast.summary.count == SETTINGS.rounds * SETTINGS.burst_calls
        assert fast.cold_seconds >= 0.001 and fast.peak >= fast.resident_before > 0

        calls = [line.split() for line in (tmp_path / "calls.log").read_text().splitlines()]
        assert all(int(end) <= int(start) for (_, _, end), (_, start, _) in zip(calls, calls[1:]))
        turns = [name for (name, *_), (before, *_) in zip(calls[1:], calls) if name != before]
        # Loading and checking: fast, slow. Then three rounds, the first of each round rotating. Then the memory of a call of each.
        assert turns == ["SlowDoubler", "Doubler", "SlowDoubler", "Doubler", "SlowDoubler", "Doubler", "SlowDoubler"]
        assert fast.running_peak > 0 and slow.running_peak > 0

    @pytest.mark.parametrize(("preemptions", "rounds"), [([0], 3), ([1], 5), ([1, 1, 1, 0], 4)])
    def test_disturbed_calls_are_taken_again(self, case, monkeypatch, preemptions, rounds):
        """Preemptions per burst (the last one repeats); clean calls enough after `rounds` rounds, or five at most."""
        bursts = []

        def time(worker, seconds, calls):
            bursts.append(worker.spec.name)
            return [(10**6, preemptions[min(len(bursts), len(preemptions)) - 1])] * 5

        monkeypatch.setattr(WorkerProcess, "time", time)
        (measured,) = compare(case, [spec("Doubler")], 1, replace(SETTINGS, extra_rounds=2))
        assert len(bursts) == rounds
        assert measured.summary.is_disturbed == (preemptions[-1] > 0)

    def test_failures_are_results_and_stop_nobody(self, case):
        names = ["Doubler", "WrongDoubler", "Refuser", "Crasher"]
        good, wrong, refused, crashed = compare(case, [spec(name) for name in names], 1, SETTINGS)
        assert good.seconds is not None
        assert wrong.relative_error == pytest.approx(0.5)
        assert refused.error == "NotImplementedError: operator Frobnicate is not supported"
        assert crashed.error.startswith("the process ended with code 3")

    def test_a_missing_package_is_an_answer(self, tmp_path):
        absent = ContenderSpec("absent", "no_such_package_anywhere:Thing", sys.executable)
        with pytest.raises(WorkerError, match="no_such_package_anywhere"):
            WorkerProcess(absent, 1, None, tmp_path)

    def test_an_endless_load_is_given_up(self, case, tmp_path):
        with WorkerProcess(spec("Sleeper"), 1, None, tmp_path) as worker:
            with pytest.raises(WorkerError, match="no answer within"):
                worker.load(case, timeout=0.1)

    def test_memory_of_further_calls(self, case, tmp_path):
        with WorkerProcess(spec("Doubler"), 1, None, tmp_path) as worker:
            worker.load(case, timeout=30)
            steady = worker.steady(calls=3)
        assert steady["resident"] > 0 and (steady["peak"] is None or steady["peak"] >= steady["resident"])

    def test_the_warm_start_finds_the_cache_and_the_next_cold_one_does_not(self, case, monkeypatch):
        found = []
        load = WorkerProcess.load

        def watch(worker, *arguments):
            loaded = load(worker, *arguments)
            found.append(worker.check()["relative_error"] == 0.0)
            return loaded

        monkeypatch.setattr(WorkerProcess, "load", watch)
        (start,) = measure_starts(case, [spec("Caching")], threads=1, settings=SETTINGS, repeats=2)
        assert found == [False, True, False, True]
        assert start.error is None and start.artifact_bytes == 42
        assert start.cold_seconds >= 0.001 and start.warm_seconds >= 0.001 and start.import_seconds > 0

    def test_memory_table_has_base_peak_and_running(self, case):
        measured, refused = measure_memory(case, [spec("Doubler"), spec("Refuser")], 1, SETTINGS)
        assert measured.peak >= measured.resident_before > 0 and measured.warm_peak > 0
        assert measured.relative_error == 0.0
        assert (above_base(measured) == "-") == (measured.running_peak is None)
        assert planned(measured) == "-"
        measured.planned_memory = {"arena": 2_000_000, "lower_bound": 1_500_000}
        assert planned(measured) == "2.00 (1.50)"
        assert "Frobnicate" in refused.error

    def test_peak_covers_what_is_resident(self):
        memory = read_resident()
        assert memory["peak"] >= memory["resident"] > 0


class TestLoad:
    def test_quiet_beside_a_busy_process_and_idle(self, case):
        measured, refused = measure_load(case, [spec("Doubler"), spec("Refuser")], 1, SETTINGS, 0.2, 0.3)
        assert measured.summary.count > 10 and len(measured.beside_busy) > 1
        assert 0 <= measured.idle_share < 0.5  # it sleeps
        assert "Frobnicate" in refused.error

    def test_multiples_of_the_quiet_median(self):
        measured = result("m", "lamina", 0.5)
        measured.beside_busy = [0.5] * 98 + [1.5, 2.0]
        assert [beside(share)(measured) for share in (0.5, 0.98, 0.99)] == ["1.00", "3.00", "4.00"]
        assert beside(0.5)(result("m", "lamina", 0.5)) == "-"


class TestGrowth:
    def test_sizes_are_about_what_is_asked(self):
        small, large = measure_growth(30), measure_growth(90)
        assert 20 <= small["nodes"] <= 30 and 80 <= large["nodes"] <= 90
        assert large["launches"] > small["launches"] and large["compile"] > 0
        assert row(large)[0] == str(large["nodes"])


class TestRecord:
    def test_json_carries_every_result(self, tmp_path):
        record = Record("models", {"lamina": "1"}, SETTINGS, results=[result("m", "lamina", 0.5)])
        record.write(tmp_path / "out.json")
        document = json.loads((tmp_path / "out.json").read_text())
        assert document["results"][0]["summary"]["median"] == 0.5
        assert document["machine"]["cores"] >= 1 and document["format_version"] == 1
        assert list(tmp_path.iterdir()) == [tmp_path / "out.json"]


class TestOptions:
    def test_interpreters_and_search_path(self):
        arguments = make_parser("", "models").parse_args(
            ["--vs", "torch,onnxruntime", "--python", "torch=/a/python", "--zoo-source", "src"])
        lamina, torch, onnxruntime = parse_contenders(arguments)
        assert (lamina.name, lamina.python) == ("lamina", sys.executable)
        assert (torch.python, torch.path) == ("/a/python", ("src",))
        assert onnxruntime.python == sys.executable

    @pytest.mark.parametrize(("options", "message"), [
        (["--vs", "nobody"], "unknown contender nobody"),
        (["--zoo", "z", "--models", "nothing"], "unknown workload nothing"),
        (["--threads", "0"], "may use 1 to")])
    def test_wrong_names_exit_with_a_message(self, options, message):
        arguments = make_parser("", "models").parse_args(options)
        with pytest.raises(SystemExit, match=message):
            parse_contenders(arguments)
            parse_threads(arguments)
            parse_workloads(arguments, list(MODELS))

    def test_a_zoo_is_needed(self, monkeypatch):
        monkeypatch.delenv("ZOO", raising=False)
        with pytest.raises(SystemExit, match="--zoo DIR"):
            zoo_cases(make_parser("", "models").parse_args([]), list(MODELS), Path())


class TestTraining:
    """The steps of benchmarks/training.py."""

    @pytest.mark.parametrize("name", ["mlp", "cnn", "lstm"])  # the others take minutes
    def test_lamina_reaches_the_losses_of_float64(self, name, tmp_path):
        case = write_step(name, tmp_path)
        with np.load(case.data) as data:
            inputs = {key: data[key] for key in data.files if key.startswith("in")}
        trainer = LaminaTrainer.__new__(LaminaTrainer)  # in this process: no environment is set
        trainer.lamina, trainer.threads = lamina, 2
        (losses,) = trainer.arrays(trainer.load(case, inputs)())
        np.testing.assert_allclose(losses, LOSSES[name], rtol=1e-5)
        assert len(trainer.losses) == CHECKED

    def test_every_step_has_the_same_arrays_each_time(self):
        for name in STEPS:
            for one, two in zip(make_step(name), make_step(name)):
                assert one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)
