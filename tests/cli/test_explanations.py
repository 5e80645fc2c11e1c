"""Do profile, memory, explain and compare say what is true of a model, as text and as JSON?"""

import json
from pathlib import Path

import pytest


# ---- profile ---------------------------------------------------------------------------------------------------------
def test_a_profile_by_every_key(lamina, digits):
    for by in ("kernel", "launch", "line", "layer"):
        ended = lamina("profile", digits, "--dim", "batch=2", "--min-time", "0", "--by", by)
        header = ended.out.splitlines()[0].split()
        assert ended.code == 0 and {"time", "%", "GFLOP/s", "GB/s", "roofline"} <= set(header) and "measuring costs" in ended.err, ended.err


def test_a_profile_as_json_with_a_trace(lamina, digits):
    data = lamina("profile", digits, "--dim", "batch=2", "--min-time", "0", "--threads", "1", "--trace", "t.json", "--json").json
    assert data["threads"] == 1 and data["inputs"] == {"image": "float32[2, 1, 8, 8]"} and data["roofline"]["flops"]["float32"] > 0
    assert all(r["count"] == 1 and r["seconds"] > 0 and r["share"] > 0 for r in data["launches"])
    conv = 2 * 2 * (64 * 9 * 16 + 64 * 9 * 16 * 32 + 16 * 9 * 32 * 64 + 256 * 10)
    assert conv < sum(r["flops"] for r in data["launches"]) < 1.1 * conv
    trace = json.loads(Path("t.json").read_text())
    assert len([e for e in trace["traceEvents"] if e.get("cat") == "kernel"]) == len(data["launches"])


def test_a_profile_of_a_function_is_by_its_lines(lamina):
    Path("net.py").write_text("import lamina as lm\ndef net(x):\n    y = x @ x\n    return lm.sort(y)\n")
    data = lamina("profile", "net.py:net", "--spec", "x=8,8", "--min-time", "0", "--json").json
    assert sorted(p["name"].rpartition("net.py")[2] for p in data["lines"]) == [":3 in net", ":4 in net"]
    assert [p["name"] for p in data["layers"]] == ["net"]


def test_a_saved_artifact_is_profiled(lamina, mlp):
    assert lamina("build", mlp, "-o", "m.lam").code == 0
    assert [r["label"] for r in lamina("profile", "m.lam", "--min-time", "0", "--json").json["launches"]] == ["contract+tanh"]


@pytest.mark.parametrize("words, code, message", [
    (("--trace", "nowhere/t.json"), 2, "no folder nowhere"), (("--top", "-1"), 2, "--top is -1"), (("--depth", "2"), 2, "--by layer"),
    (("-i", "x=3x5xf32=rand"), 2, "(x: float32[batch, 6])"), (("--max-memory", "0"), 0, "")])
def test_what_a_profile_refuses(lamina, mlp, words, code, message):
    ended = lamina("profile", mlp, "--min-time", "0", *words)
    assert ended.code == code and message in ended.err


def test_a_model_that_fails_half_way_leaves_no_trace_file(lamina, mlp, monkeypatch):
    from lamina.runtime.executable import Executable

    def fail(*_, **__):
        raise MemoryError("Unable to allocate 4.00 TiB")
    monkeypatch.setattr(Executable, "profile", fail)
    ended = lamina("profile", mlp, "--trace", "t.json", "--json")
    assert ended.code == 4 and "Unable to allocate" in ended.err and not Path("t.json").exists()
    assert ended.json["error"]["type"] == "MemoryError"


# ---- memory ----------------------------------------------------------------------------------------------------------
def test_memory_as_text_json_and_svg(lamina, digits):
    ended = lamina("memory", digits, "--dim", "batch=2", "--svg", "a.svg")
    assert ended.code == 0 and "arena:" in ended.out and "live at the peak" in ended.out and "▼ step" in ended.out
    data = lamina("memory", digits, "--dim", "batch=2", "--json").json
    assert data["arena_bytes"] == data["lower_bound"] == sum(s["bytes"] for s in data["owners"])
    assert Path("a.svg").read_text().count("<title>") >= len(data["slots"])
    assert lamina("memory", digits, "--dim", "batch=2", "--svg", "-").out == Path("a.svg").read_text()


def test_memory_of_an_artifact_for_another_machine(lamina, mlp):
    assert lamina("build", mlp, "-o", "m.lam", "--target", "aarch64").code == 0
    ended = lamina("memory", "m.lam")
    assert ended.code == 0 and "outputs: 768 bytes" in ended.out, ended.err
    assert lamina("memory", "m.lam", "--no-fuse").code == 2


def test_memory_on_a_terminal(capsys, lamina, mlp):
    from lamina.frontends.cli.commands.memory import draw
    from lamina.runtime.memory import MemoryReport
    slot = {"label": "a", "offset": 0, "bytes": 64, "first": 1, "last": 1, "location": ""}
    draw(MemoryReport({"name": "m", "launches": [], "cost": {"weight_bytes": 0, "input_bytes": 0, "output_bytes": 0},
                       "memory": {"arena_bytes": 64, "lower_bound": 64, "peak_step": 1, "slots": [slot]}}), None)
    assert "64 bytes* █" in capsys.readouterr().out
