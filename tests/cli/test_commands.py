"""Do info, ir, build, bench, doctor, ops and cache say what is true?"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lamina.frontends.cli.commands.bench import ratios
from lamina.frontends.cli.machine import cgroup_quota, threads
from lamina.frontends.cli.timing import measure, summarize


# ---- info ------------------------------------------------------------------------------------------------------------
def test_info_of_an_onnx_file(lamina, digits):
    data = lamina("info", digits, "--json").json
    assert [(p["name"], p["dtype"], p["shape"]) for p in data["inputs"]] == [("image", "float32", ["batch", 1, 8, 8])]
    assert data["onnx"]["operators"]["Conv"] == 3 and data["onnx"]["opsets"] == {"ai.onnx": 17} and data["operators"]["conv"] == 3
    assert 25_000 < data["parameters"] < 28_000 and data["weight_bytes"] == 4 * data["parameters"]
    macs = 64 * 9 * 16 + 64 * 9 * 16 * 32 + 16 * 9 * 32 * 64 + 256 * 10
    assert data["flops_at"]["extents"] == {"batch": 16} and 2 * macs * 16 < data["flops_at"]["flops"] < 2.2 * macs * 16


def test_info_is_lines_to_grep(lamina, digits):
    lines = lamina("info", digits, "--dim", "batch=2").out.splitlines()
    assert "input: image f32[2, 1, 8, 8]" in lines and "operator: conv 3" in lines and not any(line.startswith("dim:") for line in lines)


# ---- ir --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stage, expected", [("traced", "contract(%x, %w)"), ("canonical", "tanh"), ("fused", "fused("), ("kernels", "kernel k0"),
                                             ("program", "k0"), ("llvm", "define"), ("asm", ".text")])
def test_every_stage_as_text_and_json(lamina, mlp, stage, expected):
    ended = lamina("ir", mlp, "--stage", stage)
    assert ended.code == 0 and expected in ended.out
    data = lamina("ir", mlp, "--stage", stage, "--json").json
    assert data["stage"] == stage and ("graph" in data) == (stage in ("traced", "canonical", "fused"))


def test_after_a_pass(lamina, mlp):
    assert "fused(" in lamina("ir", mlp, "--after", "fuse").out
    ended = lamina("ir", mlp, "--after", "nope")
    assert ended.code == 2 and "canonicalize" in ended.err
    assert lamina("ir", mlp, "--after", "fuse", "--stage", "llvm").code == 2


def test_the_suffix_chooses_the_format(lamina, mlp):
    for name, start in (("g.json", "{"), ("g.dot", "digraph"), ("g.html", "<!DOCTYPE html>"), ("g.txt", "graph mlp")):
        assert lamina("ir", mlp, "-o", name).code == 0 and Path(name).read_text().startswith(start)
    assert json.loads(Path("g.json").read_text())["graph"]["name"] == "mlp"
    ended = lamina("ir", mlp, "--stage", "asm", "--format", "dot")
    assert ended.code == 2 and "no graph" in ended.err


def test_a_dump_starts_again(lamina, digits):
    assert lamina("ir", digits, "--dim", "batch=2", "--dump", "stages", "-q").out == ""
    files = sorted(os.listdir("stages"))
    assert files[0] == "00-traced.lamina" and {"constants.npz", "remarks.txt"} <= set(files) and {Path(f).suffix for f in files} >= {".s", ".ll"}
    x = np.random.default_rng(0).random((2, 1, 8, 8)).astype(np.float32)
    np.save("x.npy", x)
    assert lamina("run", digits, "--dim", "batch=2", "x.npy", "-o", "y.npz").code == 0
    for stage in ("canonicalize", "fuse"):
        (graph,) = [f for f in files if f.endswith(f"-{stage}.lamina")]
        ended = lamina("run", f"stages/{graph}", "x.npy", "--expect", "y.npz")
        assert ended.code == 0, ended.err


def test_a_dump_ends_where_the_compilation_does(lamina, mlp, monkeypatch):
    import lamina.compiler.driver as driver

    def fail(*_):
        raise RuntimeError("no place")
    monkeypatch.setattr(driver, "place_graph", fail)
    ended = lamina("ir", mlp, "--dump", "stages")
    assert ended.code == 5 and "no place" in ended.err
    assert any("fuse" in f for f in os.listdir("stages")) and not any("kernels" in f for f in os.listdir("stages"))


# ---- build -----------------------------------------------------------------------------------------------------------
def test_a_program_gives_what_run_gives(lamina, mlp):
    ended = lamina("build", mlp, "-o", "prog", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["kind"] == "executable" and [f["path"] for f in ended.json["files"]] == ["prog"]
    x, w = np.random.default_rng(0).random((4, 6), np.float32), np.random.default_rng(1).random((6, 3), np.float32)
    np.save("x.npy", x)
    np.save("w.npy", w)
    subprocess.run(["./prog", "x.npy", "w.npy", "-o", "y.npy"], check=True)
    assert lamina("run", mlp, "x.npy", "w.npy", "--expect", "y.npy").code == 0


def test_a_library_comes_with_its_header(lamina, mlp):
    ended = lamina("build", mlp, "-o", "libmlp.so", "--name", "net", "--json")
    assert {f["path"] for f in ended.json["files"]} == {"libmlp.so", "net.h"} and "net_" in Path("net.h").read_text()


@pytest.mark.parametrize("output, expected", [("m.exe", ".exe"), ("nowhere/m.so", "no folder nowhere"), (".", "folder"), ("-", "standard output")])
def test_outputs_that_can_not_be(lamina, mlp, output, expected):
    ended = lamina("build", mlp, "-o", output)
    assert ended.code == 2 and expected in ended.err


def test_another_machine_and_a_linker_that_is_not_there(lamina, mlp):
    assert lamina("build", mlp, "-o", "m.lam", "--target", "x86-64-v2").code == 0
    assert "target: x86-64-v2" in lamina("info", "m.lam").out
    ended = lamina("build", mlp, "-o", "libm.so", "--linker", "no-such-linker")
    assert ended.code == 3 and "no-such-linker" in ended.err and not Path("libm.so").exists()


# ---- bench -----------------------------------------------------------------------------------------------------------
def test_bench_measures(lamina, mlp):
    data = lamina("bench", mlp, "--min-time", "0.01", "--threads", "1,2", "--json").json
    assert [(r["contender"], r["threads"]) for r in data["results"]] == [("lamina", 1), ("lamina", 2)]
    assert all(0 < r["minimum"] <= r["median"] <= r["p90"] <= r["p99"] for r in data["results"])


def test_bench_beside_onnxruntime(lamina, digits):
    pytest.importorskip("onnxruntime")
    ended = lamina("bench", digits, "--dim", "batch=2", "--min-time", "0.01", "--vs", "onnxruntime", "--threads", "1")
    assert ended.code == 0 and "of onnxruntime's time" in ended.out


def test_bench_needs_what_the_peer_reads(lamina, mlp):
    ended = lamina("bench", mlp, "--vs", "onnxruntime")
    assert ended.code == 2 and ".onnx" in ended.err


def test_contenders_take_turns_and_are_summarized():
    calls = []
    found = measure({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 0.05)
    assert calls[:4] == ["a", "a", "b", "b"] and set(found) == {"a", "b"} and all(len(s.turns) >= 5 for s in found.values())
    text = "".join(calls)
    assert text.count("ab") >= 2 and text.count("ba") >= 2
    summary = summarize([float(i) for i in range(101)])
    assert (summary["median"], summary["p90"], summary["p99"], summary["minimum"]) == (50, 90, 99, 0)
    rows = [{"contender": "lamina", "threads": 1, "median": 2.0}, {"contender": "onnxruntime", "threads": 1, "median": 3.0}]
    assert ratios(rows, "onnxruntime") == {"1": 1.5}


# ---- doctor, ops, cache ----------------------------------------------------------------------------------------------
def test_doctor_is_well_here(lamina):
    ended = lamina("doctor")
    assert ended.code == 0 and "a small model compiled and ran: ok" in ended.out and str(Path.cwd().parent / "cache") in ended.out
    data = lamina("doctor", "--json").json
    assert data["ok"] and {"processor", "threads", "linkers", "compile cache"} <= set(data["facts"])


def test_doctor_tells_a_way_out(lamina, monkeypatch):
    monkeypatch.setenv("LAMINA_CACHE_DIR", "/dev/null/cache")
    assert any("set LAMINA_CACHE_DIR" in note for note in lamina("doctor", "--json").json["notes"])
    monkeypatch.setenv("LAMINA_CACHE", "off")
    assert any("cache is off" in note for note in lamina("doctor", "--json").json["notes"])


def test_threads_and_quota(tmp_path):
    found = threads()
    assert 1 <= found["usable"] <= found["affinity"] <= found["processors"]
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cgroup_quota(str(tmp_path)) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cgroup_quota(str(tmp_path)) is None


def test_ops_lists_every_operator(lamina):
    from lamina.compiler.ops import REGISTRY
    data = lamina("ops", "--json").json
    assert [o["name"] for o in data["operators"]] == sorted(REGISTRY)
    tanh = next(o for o in data["operators"] if o["name"] == "tanh")
    assert "f32" in tanh["dtypes"] and tanh["meaning"]
    assert lamina("ops").out.count("\n") == len(REGISTRY) + 1


def test_onnx_coverage(lamina):
    data = lamina("ops", "--onnx", "--json").json
    by_name = {o["name"]: o for o in data["operators"]}
    assert by_name["Conv"]["since"] == 1 and by_name["StringNormalizer"]["since"] is None and not by_name["Conv"]["by_function"]
    assert 150 < data["imported"] <= data["of"]


def test_cache_fills_and_empties(lamina, mlp):
    assert lamina("cache", "dir").out.strip() == str(Path.cwd().parent / "cache")
    assert lamina("cache", "ls").out == "" and lamina("cache", "size", "--json").json["bytes"] == 0
    assert lamina("check", mlp).code == 0
    entries = lamina("cache", "ls", "--json").json["entries"]
    assert {e["kind"] for e in entries} == {"object", "artifact"}
    assert lamina("cache", "gc", "--limit", "1GiB", "--json").json["removed_bytes"] == 0
    assert lamina("cache", "clear", "--json").json["removed_bytes"] == sum(e["bytes"] for e in entries)
    assert lamina("check", mlp, "--no-cache").code == 0 and lamina("cache", "size", "--json").json["entries"] == 0


def test_cache_that_is_off(lamina, monkeypatch):
    monkeypatch.setenv("LAMINA_CACHE", "off")
    ended = lamina("cache", "size")
    assert ended.code == 2 and "LAMINA_CACHE" in ended.err


# ---- report ----------------------------------------------------------------------------------------------------------
def test_a_report_is_one_page(lamina, mlp):
    ended = lamina("report", mlp, "--dim", "batch=4", "--json")
    assert ended.code == 0 and ended.json["file"] == "mlp.html" and ended.json["launches_measured"] == 1
    assert Path("mlp.html").read_text().startswith("<!DOCTYPE html>") and Path("mlp.html").stat().st_size == ended.json["bytes"]
    assert lamina("report", mlp, "--no-profile", "-o", "-").out.startswith("<!DOCTYPE html>")
    assert lamina("report", mlp, "--no-profile", "-o", "nowhere/r.html").code == 2


def test_a_report_for_another_machine_is_not_measured(lamina, mlp):
    ended = lamina("report", mlp, "--target", "aarch64-linux", "-o", "r.html", "--json")
    assert ended.code == 0 and ended.json["launches_measured"] == 0 and Path("r.html").stat().st_size > 10_000


def test_a_report_of_what_fails_is_written_and_says_so(lamina, digits):
    ended = lamina("report", digits, "-o", "r.html", "--max-memory", "1")
    assert ended.code == 4 and "are allowed" in ended.err and Path("r.html").stat().st_size > 10_000
