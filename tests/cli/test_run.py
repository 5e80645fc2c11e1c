"""Do arrays go in and come out, and are they compared right?"""

import io
import sys
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

from lamina.compiler.core.errors import LaminaError
from lamina.frontends.cli.arrays import gather_inputs, generate, npy_bytes, npz_bytes, read_arrays
from lamina.frontends.cli.comparison import compare, match, round_up
from lamina.runtime.signature import TensorSpec

X = np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32)
W = np.random.default_rng(2).standard_normal((6, 3)).astype(np.float32)
Y = np.tanh(X @ W)
SPECS = (TensorSpec(("batch", 6), "float32", "x"), TensorSpec((6, 3), "float32", "w"))
FACTS = {"batch": (1, 64, 1)}


@pytest.fixture
def files(lamina):
    np.save("x.npy", X)
    np.save("w.npy", W)
    np.savez("all.npz", x=X, w=W)
    np.savez("ref.npz", y=Y)
    np.save("y.npy", Y)


@pytest.mark.parametrize("words", [("-i", "x=@x.npy", "-i", "w=@w.npy"), ("x.npy", "w.npy"), ("all.npz",), ("-i", "all.npz"),
                                   ("-i", "w=@w.npy", "x.npy"), ("-i", "x=@all.npz.npy", "w.npy")])
def test_every_way_in_and_npz_out(lamina, mlp, files, words):
    np.save("all.npz.npy", X)
    ended = lamina("run", mlp, *words, "-o", "out.npz")
    assert ended.code == 0, ended.err
    with np.load("out.npz") as out:
        np.testing.assert_allclose(out["y"], Y, rtol=1e-5, atol=1e-6)
    assert ended.out == ""


def test_npy_out_and_standard_output(lamina, mlp, files, monkeypatch):
    assert lamina("run", mlp, "all.npz", "-o", "out.npy").code == 0
    np.testing.assert_allclose(np.load("out.npy"), Y, rtol=1e-5, atol=1e-6)
    bytes_out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_out))
    assert lamina("run", mlp, "all.npz", "-o", "-").code == 0
    np.testing.assert_array_equal(np.load(io.BytesIO(bytes_out.getvalue())), np.load("out.npy"))


def test_standard_input_is_an_array(lamina, mlp, files, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(npy_bytes(X))))
    assert lamina("run", mlp, "-i", "x=@-", "-i", "w=@w.npy", "--expect", "y.npy").code == 0


def test_expect_passes_fails_and_names_the_tolerance(lamina, mlp, files):
    assert lamina("run", mlp, "all.npz", "--expect", "ref.npz").code == 0
    np.savez("off.npz", y=Y * np.float32(1.02))
    ended = lamina("run", mlp, "all.npz", "--expect", "off.npz")
    assert ended.code == 1 and "differs" in ended.out and "it would pass with --rtol" in ended.err
    needed = ended.err.split("--rtol ")[-1].split(" or ")[0].strip()
    assert lamina("run", mlp, "all.npz", "--expect", "off.npz", "--rtol", needed).code == 0
    data = lamina("run", mlp, "all.npz", "--expect", "off.npz", "--json")
    assert data.code == 1 and data.json["ok"] is False and data.json["matches"][0]["required_rtol"] <= float(needed)


def test_check_nans_names_the_input_and_the_operator(lamina, mlp, files):
    assert lamina("run", mlp, "all.npz", "--check-nans").code == 0
    broken = X.copy()
    broken[1, 2] = np.nan
    np.save("broken.npy", broken)
    ended = lamina("run", mlp, "broken.npy", "w.npy", "--check-nans")
    assert ended.code == 1 and "the output 'y' holds a NaN that the input 'x': f32[5, 6] brought in" in ended.err
    assert lamina("build", mlp, "-o", "m.lam").code == 0
    ended = lamina("run", "m.lam", "broken.npy", "w.npy", "--check-nans")
    assert ended.code == 2 and "m.lam is compiled: its graph, which explains a NaN, is not in it" in ended.err
    np.save("large.npy", np.full_like(W, np.inf) * np.array([1, -1, 1], np.float32))
    data = lamina("run", mlp, "x.npy", "large.npy", "--check-nans", "--json")
    assert data.code == 1 and data.json["error"]["type"] == "NanError"
    assert "born in contract in forward code" in data.json["error"]["message"]


def test_expect_names_what_is_missing(lamina, mlp, files):
    np.savez("other.npz", z=Y)
    ended = lamina("run", mlp, "all.npz", "--expect", "other.npz")
    assert ended.code == 2 and "none of them is an output" in ended.err


def test_check_takes_inputs_from_the_reference(lamina, mlp, files):
    np.savez("whole.npz", x=X, w=W, y=Y)
    ended = lamina("check", mlp, "--expect", "whole.npz")
    assert ended.code == 0 and "gives what was expected" in ended.out
    np.savez("wrong.npz", x=X, w=W, y=Y + 1)
    assert lamina("check", mlp, "--expect", "wrong.npz").code == 1


def test_outputs_are_described(lamina, mlp, files):
    ended = lamina("run", mlp, "all.npz", "--threads", "1")
    assert ended.code == 0 and ended.out.splitlines()[1].split()[:2] == ["y", "float32[5,"]
    facts = lamina("run", mlp, "all.npz", "--json").json["outputs"][0]
    assert facts["shape"] == [5, 3] and facts["mean"] == pytest.approx(float(Y.mean()), rel=1e-5) and facts["nan"] == 0


def test_too_many_arrays(lamina, mlp, files):
    ended = lamina("run", mlp, "x.npy", "w.npy", "w.npy")
    assert ended.code == 2 and "3 arrays were given for 2 inputs" in ended.err


# ---- generated -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text, expected", [
    ("zeros", np.zeros((2, 6))), ("ones", np.ones((2, 6))), ("range", np.arange(12).reshape(2, 6)), ("3.5", np.full((2, 6), 3.5)),
    ("2x3xf32=range", np.arange(6).reshape(2, 3)), ("f32=7", np.float32(7)), ("-1e-3", np.full((2, 6), -1e-3))])
def test_generated_values(text, expected):
    array = generate(text, SPECS[0], {"batch": 2})
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.asarray(expected, np.float32))


def test_random_values_are_the_seed_s():
    a, b, c = (generate(t, SPECS[0], {"batch": 50}) for t in ("rand:7", "50x6xf32=rand:7", "rand:8"))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any() and abs(float(a.mean())) < 0.3
    bounded = generate("rand:1:2..3", SPECS[0], {"batch": 50})
    assert bounded.min() >= 2 and bounded.max() <= 3


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float16", "bfloat16", "float64"])
def test_random_values_of_every_kind(dtype):
    array = generate("rand:3", TensorSpec((100,), dtype, "t"), {})
    assert array.dtype.name == dtype and (dtype[0] not in "iub" or dtype == "bfloat16" or set(array.tolist()) == {0, 1})
    if dtype == "int64":
        assert set(generate("rand:3:0..9", TensorSpec((500,), dtype, "t"), {}).tolist()) == set(range(10))


def test_extents_come_from_other_inputs_and_from_facts():
    arrays = gather_inputs(["x=4x6xf32=ones"], (*SPECS, TensorSpec(("batch", "2*batch + 1"), "float32", "z")), FACTS, fill="zeros")
    assert {n: a.shape for n, a in arrays.items()} == {"x": (4, 6), "w": (6, 3), "z": (4, 9)}
    assert gather_inputs([], SPECS, {"batch": (3, None, 8)}, fill="rand")["x"].shape == (8, 6)


def test_names_with_an_equals_sign():
    spec = TensorSpec((2,), "float32", "a=b")
    assert gather_inputs(["a=b=ones"], (spec,), {})["a=b"].tolist() == [1, 1]


def test_files_keep_bfloat16_and_any_name(tmp_path):
    array = np.arange(6, dtype=np.float32).astype(ml_dtypes.bfloat16)
    (tmp_path / "a.npz").write_bytes(npz_bytes({"file": array, "deep/name": np.ones(2)}))
    loaded = read_arrays(str(tmp_path / "a.npz"))
    assert set(loaded) == {"file", "deep/name"}
    spec = TensorSpec((6,), "bfloat16", "file")
    np.testing.assert_array_equal(gather_inputs([str(tmp_path / "a.npz")], (spec,), {})["file"], array)


# ---- compared --------------------------------------------------------------------------------------------------------
def test_matches_count_what_is_outside():
    expected = np.array([1.0, 2.0, 0.0, -4.0], np.float32)
    m = match("y", expected + np.array([0, 0.1, 0.001, 0], np.float32), expected, 1e-3, 1e-5)
    assert not m.passed and m.mismatches == 2 and m.required_rtol == np.inf and m.required_atol == pytest.approx(0.098, rel=1e-3)
    assert match("y", expected, expected, 0, 0).passed


def test_nan_and_infinity_match_themselves_alone():
    special = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    assert match("y", special, special, 0, 0).passed
    for other in ([0, np.inf, -np.inf, 1], [np.nan, -np.inf, -np.inf, 1], [np.nan, 3e38, -np.inf, 1]):
        m = match("y", np.array(other, np.float32), special, 1, 1)
        assert not m.passed and m.required_atol == np.inf and m.data()["required_atol"] is None


def test_shapes_and_integers_must_agree():
    assert "shape" in match("y", np.ones((2, 3)), np.ones((3, 2)), 1, 1).remark
    assert not match("y", np.array([1, 2]), np.array([1, 3]), 1, 1).passed
    assert match("y", np.array([], np.float32), np.array([], np.float32), 0, 0).passed
    with pytest.raises(LaminaError, match="one array is expected"):
        compare({"a": Y, "b": Y}, Y, 0, 0)


@pytest.mark.parametrize("value", [0.0203, 1e-9, 3.0, 0.0999999, 12345.6])
def test_round_up_is_never_below(value):
    assert value <= float(round_up(value)) <= value * 1.12
