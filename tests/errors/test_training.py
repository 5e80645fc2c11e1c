"""What does bad input to a derivative or an optimizer get?  The user's line, what is wrong, and a way out."""

import errno
import inspect
import os
import resource
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.ops.elementwise import Tanh
from lamina.compiler.ops.op import Op
from lamina.frontends.tree import TreeError

X = np.ones(3, np.float32)


def doubles(x):  # defined here
    return x * 2


def takes_a_loop(x):
    return lm.while_loop(lambda c: lm.sum(c) < 10, lambda c: c * 2, x)[0]  # loop


def takes_a_tanh(x):
    y = x * 2
    return lm.sum(lm.tanh(y))  # tanh


def finds_the_largest(x):
    return lm.argmax(x)


def line_of(function, text: str) -> str:
    lines, start = inspect.getsourcelines(function)
    return f"{__file__}:{start + next(i for i, line in enumerate(lines) if text in line)}"


def error_of(kind, function, *args, **keywords) -> str:
    """The message of the error, which is the same inside of jit; it names a line of this file."""
    messages = []
    for compiled in (False, True):
        with pytest.raises(kind) as caught:
            (lm.jit(function) if compiled else function)(*args, **keywords)
        assert isinstance(caught.value, lm.LaminaError) and caught.value.location.file == __file__
        messages.append(str(caught.value).split(":", 2)[0])
    assert len(set(messages)) == 1
    return str(caught.value)


# ---- derivatives -----------------------------------------------------------------------------------------------------
def test_a_loss_that_is_no_scalar():
    message = error_of(lm.ShapeError, lm.grad(doubles), X)
    assert "a gradient is that of one scalar, and 'doubles' returns f32[3]" in message
    assert "hint: reduce it with lm.mean or lm.sum" in message
    message = error_of(lm.ShapeError, lm.grad(lambda x: {"loss": lm.sum(x)}), X)
    assert "returns Structure({'loss': *})" in message and "has_aux=True takes (loss, aux)" in message


def test_a_loss_of_integers():
    message = error_of(lm.DTypeError, lm.grad(finds_the_largest), X)
    assert "'finds_the_largest' returns i64[], and only floats have a derivative" in message
    assert "hint: cast it to a float" in message


@pytest.mark.parametrize("argument, type", [(np.arange(3), "i64[3]"), (X > 0, "bool[3]"), (3, "i64[]")])
def test_an_integer_to_differentiate_by(argument, type):
    message = error_of(lm.DTypeError, lm.grad(takes_a_tanh), argument)
    assert f"argument 'x' of 'takes_a_tanh' is {type}, and only floats have a derivative" in message
    assert "hint: cast it to a float, or leave it out of argnums" in message


def test_an_integer_in_a_tree_is_named_by_its_path():
    message = error_of(lm.DTypeError, lm.grad(lambda p: lm.sum(p["layers"][0]["w"])),
                       {"layers": [{"w": X, "steps": np.arange(2)}]})
    assert "argument 'p.layers.0.steps' of '<lambda>' is i64[2]" in message


@pytest.mark.parametrize("differentiate", [lm.grad(takes_a_tanh), lambda x: lm.jvp(takes_a_tanh, (x,), (x,)),
                                           lambda x: lm.grad(lm.checkpoint(takes_a_tanh))(x),
                                           lambda x: lm.vmap(lm.grad(takes_a_tanh))(x[None])],
                         ids=["grad", "jvp", "checkpoint", "vmap"])
def test_an_operator_without_a_derivative_is_named_at_its_line(monkeypatch, differentiate):
    monkeypatch.setattr(Tanh, "vjp", Op.vjp)
    monkeypatch.setattr(Tanh, "not_differentiable", "this test says so")
    with pytest.raises(lm.UnsupportedError) as caught:
        differentiate(X)
    place = f"{line_of(takes_a_tanh, '# tanh')} in takes_a_tanh"
    assert str(caught.value) == (f"tanh has no derivative: this test says so\n  at {place}\n  hint: lm.stop_gradient "
                                 f"keeps it out of the derivative, lm.custom_vjp gives a rule")


def test_an_operator_without_a_derivative_that_is_not_on_the_path(monkeypatch):
    monkeypatch.setattr(Tanh, "vjp", Op.vjp)
    found = lm.grad(lambda x: lm.sum(x * lm.stop_gradient(lm.tanh(x))))(X)
    np.testing.assert_allclose(found, np.tanh(X), rtol=1e-6)


def test_a_rule_for_reverse_mode_alone():
    halves = lm.custom_vjp(doubles)
    halves.defvjp(lambda x: (x, ()), lambda r, c: (c / 2,))
    message = error_of(lm.UnsupportedError, lambda x: lm.jvp(halves, (x,), (x,)), X)
    assert message.startswith("'doubles' has a rule for reverse mode alone\n")
    assert "hint: lm.custom_jvp serves both modes" in message


def test_a_while_loop_without_a_bound():
    message = error_of(lm.UnsupportedError, lm.grad(takes_a_loop), X)
    assert "a while_loop without a bound has no derivative in reverse mode" in message
    assert f"at {line_of(takes_a_loop, '# loop')} in takes_a_loop" in message
    assert "hint: give max_iterations=, or use lm.scan" in message


# ---- trees -----------------------------------------------------------------------------------------------------------
ADAM = lm.optim.Adam()


@pytest.mark.parametrize("differ, kind, said", [
    (lambda p: ADAM.update({"w": X}, ADAM.init(p), p), TreeError, "the gradients and the tree that they are for"),
    (lambda p: ADAM.update(p, ADAM.init({"w": X}), p), TreeError, "init makes a state for parameters, which serves"),
    (lambda p: ADAM.update({**p, "w": X[:2]}, ADAM.init(p), p), lm.ShapeError, "has shape [2], its parameter [3]"),
    (lambda p: lm.vjp(lambda p: {"y": p["w"]}, p)[1](X), lm.TraceError, "give a tree of the same structure, shapes"),
    (lambda p: lm.jvp(lambda p: p["w"], (p,), (X,)), lm.TraceError, "differ at [0]: a leaf and dict"),
    (lambda p: lm.tree.map(lambda a, b: a, p, {"w": X}), TreeError, "trees differ at the root: key 'b' only in")],
    ids=["gradients", "state", "shape", "cotangent", "tangent", "map"])
def test_trees_that_do_not_fit(differ, kind, said):
    message = error_of(kind, differ, {"w": X, "b": X})
    assert said in message and f"at {__file__}:" in message


# ---- files -----------------------------------------------------------------------------------------------------------
def test_a_checkpoint_of_another_model_or_cut_short_loads_nothing(tmp_path):
    path = tmp_path / "run.safetensors"
    lm.train.save_checkpoint(path, {"w": X})
    like = {"w": np.zeros(4, np.float32), "b": np.zeros(2, np.float32)}
    with pytest.raises(lm.LaminaError) as caught:
        lm.train.load_checkpoint(path, like)
    assert str(caught.value) == (f"the checkpoint {path} is that of another model or optimizer:\n  b is missing\n  "
                                 f"w is float32[3], float32[4] was expected\n  hint: nothing was loaded")
    assert not like["w"].any()
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(lm.FormatError, match="cut short|is damaged|too short|is no "):
            lm.train.load_checkpoint(path, {"w": X})


def test_the_last_good_files_stay_where_the_disk_is_full(tmp_path):
    """A process that may write 4,096 bytes to a file: the kernel stops it in the middle of one."""
    program = textwrap.dedent("""
        import resource, signal, sys
        import numpy as np, lamina as lm
        folder, size = sys.argv[1], int(sys.argv[2])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        executable = lm.compile(lambda x: x @ np.ones((size, 2), np.float32), lm.TensorSpec((1, size)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
        for write in (lambda: lm.train.save_checkpoint(f"{folder}/run", {"w": np.ones(size)}),
                      lambda: lm.nn.save({"w": np.ones(size)}, f"{folder}/model"),
                      lambda: executable.save(f"{folder}/m.lam")):
            try:
                write()
                print("written")
            except (OSError, lm.LaminaError) as error:
                print(error)
    """)

    def run(size: int, limit: int) -> str:
        ended = subprocess.run([sys.executable, "-c", program, str(tmp_path), str(size), str(limit)],
                               capture_output=True, text=True, timeout=120, env=os.environ | {"LAMINA_CACHE": "off"})
        assert ended.returncode == 0, ended.stderr
        return ended.stdout
    assert run(3, resource.RLIM_INFINITY) == "written\n" * 3
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    assert sorted(before) == ["m.lam", "model", "run"]
    said = run(100_000, 4096).splitlines()
    assert all(os.strerror(errno.EFBIG) in line and str(tmp_path / name) in line
               for line, name in zip(said, ("run", "model", "m.lam"), strict=True))
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
