"""Does every failure say what, where and a way out, and end with its exit code?"""

import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from lamina.frontends.cli.main import exit_code
import lamina as lm


def write_unsupported(path):
    from onnx import TensorProto, helper, save
    nodes = [helper.make_node("StringNormalizer", ["x"], ["y"], "first"), helper.make_node("Foo", ["x"], ["z"], "second", domain="my.ops")]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3]) for n in "xyz"]
    graph = helper.make_graph(nodes, "unsupported", infos[:1], infos[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.ops", 1)]), path)


@pytest.mark.parametrize("name", ["none.onnx", "none.lamina", "none.txt", "none.lam", "none.py:f", "none"])
def test_a_missing_file_is_named(lamina, name):
    ended = lamina("info", name)
    assert ended.code == 2 and ended.err.startswith("error: ") and name.split(":")[0] in ended.err and "Traceback" not in ended.err


def test_a_truncated_model(lamina, digits, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(digits.read_bytes()[:50_000])
    ended = lamina("check", tmp_path / "cut.onnx")
    assert ended.code == 2 and "truncated" in ended.err


def test_graph_text_that_is_wrong_shows_the_place(lamina, mlp):
    mlp.write_text(mlp.read_text().replace("tanh(%0)", "tanh(%7)"))
    ended = lamina("info", mlp)
    assert ended.code == 2 and "line 3" in ended.err and "^" in ended.err and str(mlp) in ended.err


@pytest.mark.parametrize("given, expected", [
    (["x=3x7xf32=zeros"], "extent 7, 6 was expected"), (["x=3x6xf64=zeros"], "float64"), (["x=6xf32=zeros"], "rank"),
    (["bild=zeros"], "the model has no input"), ([], "no array was given for x"), (["x=@none.npy"], "none.npy"),
    (["x=rand:y"], "can't make an array"), (["x=1xf99=zeros"], "f99")])
def test_inputs_that_do_not_fit(lamina, mlp, given, expected):
    ended = lamina("run", mlp, "-i", "w=zeros", *(word for spec in given for word in ("-i", spec)))
    assert ended.code == 2 and expected in ended.err and ended.out == ""


def test_a_dim_that_the_model_lacks(lamina, digits, mlp):
    for model in (digits, mlp):
        ended = lamina("info", model, "--dim", "height=3")
        assert ended.code == 2 and "height" in ended.err and "batch" in ended.err


def test_an_extent_that_breaks_a_fact(lamina, mlp):
    ended = lamina("run", mlp, "-i", "x=65x6xf32=ones", "-i", "w=ones")
    assert ended.code == 2 and "breaks the declared fact batch=1..64" in ended.err


@pytest.mark.parametrize("output", ["nowhere/out.npz", "out.txt", "."])
def test_an_output_that_can_not_be_written(lamina, mlp, output):
    ended = lamina("run", mlp, "-i", "x=rand", "-i", "w=rand", "-o", output)
    assert ended.code == 2 and "can't write" in ended.err and not [p for p in os.listdir(".") if p != mlp.name]


def test_unsupported_operators_are_listed_all_at_once(lamina, tmp_path):
    write_unsupported(tmp_path / "u.onnx")
    ended = lamina("check", tmp_path / "u.onnx")
    assert ended.code == 3 and "StringNormalizer" in ended.err and "my.ops.Foo" in ended.err and ended.out == ""
    problems = lamina("check", tmp_path / "u.onnx", "--json").json["error"]["problems"]
    assert [(p["op"], p["node"]) for p in problems] == [("StringNormalizer", "first"), ("Foo", "second")] and all(p["reason"] for p in problems)


def test_groups_without_native_code_are_listed_all_at_once(lamina, mlp, monkeypatch):
    from lamina.compiler.lower import group

    def refuse(body, *_):
        raise lm.UnsupportedError(f"no code for {body.nodes[0].op.name}")
    monkeypatch.setattr(group, "lower_reduction", refuse)
    mlp.write_text('graph two(%x: f32[4], %y: f32[5]) {\n  %0 = exp(%x)\n  %1 = reduce(%0) {kind="sum", axes=(0,)}\n'
                   '  %2 = tanh(%y)\n  %3 = reduce(%2) {kind="max", axes=(0,)}\n  return %1, %3\n}\n')
    data = lamina("check", mlp, "--json").json["error"]
    assert data["exit_code"] == 3 and {p["reason"] for p in data["problems"]} == {"no code for exp", "no code for tanh"}


def test_over_budget(lamina, digits):
    ended = lamina("check", digits, "--dim", "batch=8", "--max-memory", "1KiB")
    assert ended.code == 4 and "1,024 are allowed" in ended.err and "hint:" in ended.err


def test_an_internal_error_leaves_a_bundle(lamina, mlp, monkeypatch):
    import lamina.frontends.cached as cached

    def fail(*_, **__):
        raise AssertionError("the sky fell")
    monkeypatch.setattr(cached, "compile_cached", fail)
    ended = lamina("check", mlp)
    assert ended.code == 5 and "the sky fell" in ended.err and "open an issue" in ended.err and "Traceback" not in ended.err
    (bundle,) = [p for p in os.listdir(".") if p.startswith("lamina-error-")]
    assert bundle in ended.err
    with zipfile.ZipFile(bundle) as archive:
        assert {"README.txt", "error.txt", "command.txt", "versions.json", f"model/{mlp.name}", "graph.lamina"} == set(archive.namelist())
        assert b"the sky fell" in archive.read("error.txt") and b"tanh" in archive.read("graph.lamina")
        assert archive.read("command.txt").decode() == f"lamina check {mlp}\n"


def test_tracebacks_come_when_asked_for(lamina, mlp, monkeypatch):
    words = ("run", mlp, "-i", "x=zeros")
    assert "Traceback" not in lamina(*words).err
    assert "Traceback" in lamina(*words, "-v").err
    monkeypatch.setenv("LAMINA_TRACEBACK", "full")
    full = lamina(*words).err
    assert "Traceback" in full and "gather_inputs" in full


def test_an_interrupted_build_leaves_nothing(lamina, mlp, monkeypatch):
    import lamina.frontends.build as build

    def interrupt(*_, **__):
        raise KeyboardInterrupt
    monkeypatch.setattr(build, "link_artifact", interrupt)
    ended = lamina("build", mlp, "-o", "libmlp.so")
    assert ended.code == 130 and ended.err.endswith("interrupted\n") and os.listdir(".") == [mlp.name]


def test_a_reader_that_goes_away(digits, tmp_path):
    command = [sys.executable, "-m", "lamina", "ir", str(digits)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 141 and err == ""


def test_a_package_that_is_not_installed(lamina, digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    ended = lamina("info", digits)
    assert ended.code == 2 and "needs the Python package onnx" in ended.err and "pip install onnx" in ended.err


def test_exit_codes_by_kind():
    assert [exit_code(e) for e in (lm.ShapeError("x"), FileNotFoundError(), lm.UnsupportedError("x"), lm.BudgetError("x"), MemoryError(),
                                   lm.CompilerError("x"), lm.VerifyError("x"), ValueError())] == [2, 2, 3, 4, 4, 5, 5, 5]


def test_files_of_arrays_that_are_wrong(lamina, mlp, tmp_path):
    (tmp_path / "a.npy").write_bytes(b"not an array")
    np.savez(tmp_path / "b.npz", q=np.ones(3))
    np.save(tmp_path / "c.npy", np.array([{"a": 1}], dtype=object))
    (tmp_path / "d.npy").write_bytes(b"\x93NUMPY\x01\x00")
    for name, expected in (("a.npy", "neither"), ("b.npz", "none of them is an input"), ("c.npy", "can't be read"), ("d.npy", "can't be read")):
        ended = lamina("run", mlp, tmp_path / name, "-i", "w=rand")
        assert ended.code == 2 and expected in ended.err, name
