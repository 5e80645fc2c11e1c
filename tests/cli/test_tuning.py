"""Does --tune measure, say so, and keep what it measured?"""

import pytest


def test_a_model_is_tuned_and_explained(lamina, mlp):
    ended = lamina("explain", mlp, "k0", "--tune", "30")
    assert ended.code == 0
    assert "measured: the heuristic takes " in ended.out and "[tune]" in ended.out
    (answer,) = lamina("explain", mlp, "contract", "--tune", "0", "--json").json["answers"]
    reasons = [d["reason"] for k in answer["kernels"] for d in k["decisions"] if d["stage"] == "tune"]
    assert reasons and all(r.startswith(("measured: ", "all its schedules")) for r in reasons)
    assert "[tune]" not in lamina("explain", mlp, "k0").out


def test_what_is_left_is_noted_on_standard_error(lamina, mlp):
    words = ("run", mlp, "-i", "x=2x6xf32=ones", "-i", "w=6x3xf32=ones")
    first = lamina(*words, "--tune", "0")
    assert first.code == 0 and "0 kinds of groups have schedules that were measured; 1 are left" in first.err
    second = lamina(*words, "--tune", "30")
    assert "1 kinds of groups have schedules that were measured\n" in second.err and second.out == first.out
    assert "schedules" not in lamina(*words).err


def test_the_graph_with_its_schedules_is_shown(lamina, mlp):
    assert lamina("ir", mlp, "--after", "tune", "--tune", "30").code == 0
    ended = lamina("ir", mlp, "--after", "tune")
    assert ended.code == 2 and "nothing is tuned" in ended.err


@pytest.mark.parametrize("seconds", ["-1", "soon", "nan", "inf"])
def test_what_is_no_time_is_a_usage_error(lamina, mlp, seconds):
    ended = lamina("run", mlp, f"--tune={seconds}")
    assert ended.code == 2 and "no number of seconds" in ended.err


def test_another_machine_can_not_be_measured(lamina, mlp):
    ended = lamina("build", mlp, "-o", "m.lam", "--target", "aarch64", "--tune", "1")
    assert ended.code == 3 and "does not run aarch64" in ended.err
