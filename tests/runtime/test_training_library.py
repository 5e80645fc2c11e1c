"""Does a C program train as Python does, bit for bit, and do their files fit each other?"""

import ctypes
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lamina as lm
from lamina import nn
from lamina.compiler.codegen.c_names import c_model
from lamina.frontends.build import as_artifact, build
from lamina.runtime.errors import FormatError, LaminaError, UnsupportedError
from lamina.runtime.package import load_artifact
from lamina.runtime.signature import numpy_dtype
from lamina.runtime.tensors import read_tensors, write_tensors

CC, LD, NM = map(shutil.which, ("cc", "ld", "nm"))
needs_cc = pytest.mark.skipif(CC is None, reason="needs a C compiler")
needs_linker = pytest.mark.skipif(CC is None and LD is None, reason="needs a linker")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
OK, ERROR_EXTENT, ERROR_MEMORY, ERROR_CPU, ERROR_FILE, ERROR_FORMAT = range(6)
STEPS = 20

optimizer = lm.optim.Adam(0.01)


def first_state():
    rng = np.random.default_rng(0)
    params = {"one": {"w": rng.standard_normal((5, 7), np.float32), "b": np.zeros(7, np.float32)},
              "two": {"w": rng.standard_normal((7, 3), np.float32), "b": np.zeros(3, np.float32)}}
    return params, optimizer.init(params)


def loss(params, x, y):
    hidden = lm.tanh(x @ params["one"]["w"] + params["one"]["b"])
    return nn.cross_entropy(hidden @ params["two"]["w"] + params["two"]["b"], y)


def step(params, remembered, x, y):
    value, gradients = lm.value_and_grad(loss)(params, x, y)
    params, remembered = optimizer.update(gradients, remembered, params)
    return params, remembered, value


def batches():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((STEPS, 11, 5), np.float32)
    return x, x[..., :3].argmax(-1)


def in_python(steps=range(STEPS), state=None):
    """(losses, state) of steps in Python."""
    compiled = lm.jit(step, donate_argnums=(0, 1))
    params, remembered = state or first_state()
    x, y = batches()
    losses = []
    for i in steps:
        params, remembered, value = compiled(params, remembered, x[i], y[i])
        losses.append(np.array(value))
    return np.array(losses), {"params": params, "remembered": remembered}


def assert_same_bits(a, b):
    assert lm.tree.flatten(a)[1] == lm.tree.flatten(b)[1]
    for x, y in zip(lm.tree.leaves(a), lm.tree.leaves(b)):
        x, y = np.asarray(x), np.asarray(y)
        assert x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


@pytest.fixture(scope="module")
def artifact():
    x, y = batches()
    return as_artifact(step, *first_state(), x[0], y[0], state=(0, 1))


class Library:
    """A training library, called through ctypes with one state of its own."""

    def __init__(self, path, name):
        self.library, self.name = ctypes.CDLL(str(path)), name
        for function in ("init", "array"):
            getattr(self.library, f"{name}_{function}").restype = ctypes.c_void_p
        self.state = ctypes.c_void_p(self("init"))
        assert self.state

    def __call__(self, function, *arguments):
        return getattr(self.library, f"{self.name}_{function}")(*arguments)

    def step(self, *arrays):
        return self("step", self.state, *(ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else
                                          ctypes.c_int64(a) for a in arrays))

    def save(self, path):
        return self("save", self.state, str(path).encode())

    def load(self, path):
        return self("load", self.state, str(path).encode())

    def array(self, number, like):
        address = self("array", self.state, number)
        data = (ctypes.c_char * like.nbytes).from_address(address) if like.nbytes else b""
        return np.frombuffer(data, like.dtype).reshape(like.shape)


@pytest.fixture
def library(artifact, tmp_path):
    if CC is None and LD is None:
        pytest.skip("needs a linker")
    return Library(build(artifact, tmp_path / "libtrain.so"), "train")


def train(library, steps=range(STEPS)):
    x, y = batches()
    losses = np.zeros(STEPS, np.float32)
    for i in steps:
        assert library.step(x[i].copy(), y[i].copy(), losses[i:i + 1]) == OK
    return losses[list(steps)]


# ---- from C ----------------------------------------------------------------------------------------------------------
MAIN = """
#include "train.h"
#include <stdio.h>
int main(int count, char **arguments) {
    static float x[11 * 5];
    static int64_t y[11];
    float loss;
    FILE *data = fopen("data", "rb"), *losses = fopen("losses", "wb");
    train_state *state = train_init();
    if (!data || !losses || !state) return 1;
    if (count > 1 && train_load(state, arguments[1]) != TRAIN_OK) return 2;
    while (fread(x, sizeof x, 1, data) == 1 && fread(y, sizeof y, 1, data) == 1) {
        if (train_step(state, x, y, &loss) != TRAIN_OK) return 3;
        fwrite(&loss, sizeof loss, 1, losses);
    }
    float *bias = train_array(state, TRAIN_STATE_PARAMS_ONE_B);
    if (!bias || train_array(state, TRAIN_STATES) || train_array(state, -1)) return 4;
    fwrite(bias, sizeof *bias, TRAIN_STATE_PARAMS_ONE_B_ELEMENTS, losses);
    if (train_save(state, "state.safetensors") != TRAIN_OK) return 5;
    train_free(state);
    train_free(NULL);
    train_release();
    return fclose(losses) | fclose(data);
}
"""


def run_in_c(folder, steps, *arguments):
    """(losses, a bias) of the program in `folder`."""
    x, y = batches()
    (folder / "data").write_bytes(b"".join(x[i].tobytes() + y[i].tobytes() for i in steps))
    done = subprocess.run([folder / "main", *arguments], cwd=folder, env={}, timeout=60)
    assert done.returncode == 0
    found = np.fromfile(folder / "losses", np.float32)
    return found[:len(steps)], found[len(steps):]


@needs_cc
@pytest.mark.parametrize("kind, arguments", [("libtrain.so", ["./libtrain.so", "-Wl,-rpath,$ORIGIN"]),
                                             ("libtrain.a", ["libtrain.a", "-lm", "-lpthread"])])
def test_a_c_program_trains_with_the_bits_of_python(artifact, tmp_path, kind, arguments):
    build(artifact, tmp_path / kind)
    (tmp_path / "main.c").write_text(MAIN)
    subprocess.run([CC, *STRICT, "main.c", *arguments, "-o", "main"], cwd=tmp_path, check=True)
    losses, expected = in_python()
    found, bias = run_in_c(tmp_path, range(STEPS))
    assert found.tobytes() == losses.tobytes() and losses[-1] < losses[0]
    assert bias.tobytes() == expected["params"]["one"]["b"].tobytes()
    params, remembered = first_state()
    assert_same_bits(nn.load({"params": params, "remembered": remembered}, tmp_path / "state.safetensors"), expected)

    half = in_python(range(STEPS // 2))[1]
    nn.save(half, tmp_path / "half.safetensors")
    found, _ = run_in_c(tmp_path, range(STEPS // 2, STEPS), "half.safetensors")
    assert found.tobytes() == losses[STEPS // 2:].tobytes()
    assert_same_bits(nn.load(half, tmp_path / "state.safetensors"), expected)


@needs_cc
def test_the_example_in_the_header_compiles_and_runs(artifact, tmp_path):
    build(artifact, tmp_path / "libdemo.a")
    example = (tmp_path / "demo.h").read_text().split("Example:\n\n")[1].split("*/")[0]
    (tmp_path / "main.c").write_text(example)
    subprocess.run([CC, *STRICT, "main.c", "libdemo.a", "-lm", "-lpthread", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "main"], cwd=tmp_path, check=True)
    assert "remembered.step" in read_tensors((tmp_path / "demo.safetensors").read_bytes(), "")
    if shutil.which("c++"):
        subprocess.run(["c++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", "c++", tmp_path / "demo.h"],
                       check=True)


def test_the_header_tells_state_and_batch_apart(artifact, tmp_path):
    text = build(artifact, tmp_path / "train.h").read_text()
    assert "int32_t train_step(train_state *state, const float *x, const int64_t *y, float *out2);" in text
    assert "params_one_w: params.one.w, float32 [5, 7]" in text
    assert "train_run" not in text and "train_extents" not in text


@needs_linker
@pytest.mark.skipif(NM is None, reason="needs nm")
def test_a_shared_library_exports_its_functions_alone(artifact, tmp_path):
    path = build(artifact, tmp_path / "libtrain.so")
    done = subprocess.run([NM, "-D", "--defined-only", path], capture_output=True, text=True, check=True)
    functions = ("init", "step", "array", "save", "load", "free", "arena_bytes", "set_threads", "release", "version")
    assert {line.split()[-1] for line in done.stdout.splitlines()} == {f"train_{f}" for f in functions}


# ---- the state -------------------------------------------------------------------------------------------------------
def test_a_step_of_adam_computes_all_in_place(artifact):
    assert all(s.is_in_place for s in c_model(artifact.manifest, "train").state)


def test_a_saved_artifact_keeps_the_first_values(artifact, tmp_path, library):
    saved = build(artifact, tmp_path / "train_step.lam")
    again = Library(build(saved, tmp_path / "libagain.so"), "again")
    assert train(library).tobytes() == train(again).tobytes() == in_python()[0].tobytes()
    executable = lm.load(saved)
    assert len(executable.inputs) == 15 and len(executable.outputs) == 14


@needs_linker
def test_the_command_builds_a_library_of_a_saved_step(artifact, tmp_path, capsys):
    from lamina.frontends.cli.main import main
    build(artifact, tmp_path / "train_step.lam")
    assert main(["info", str(tmp_path / "train_step.lam")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "state: params.one.w" in lines and "state: x" not in lines
    assert main(["build", str(tmp_path / "train_step.lam"), "-o", str(tmp_path / "libtrain.so")]) == 0
    assert train(Library(tmp_path / "libtrain.so", "train")).tobytes() == in_python()[0].tobytes()


def test_a_saved_artifact_without_its_state_is_refused(artifact, tmp_path):
    from dataclasses import replace
    build(replace(artifact, state=artifact.state[:-1]), tmp_path / "short.lam")
    with pytest.raises(FormatError, match=r"no array for the state 'remembered.step'"):
        load_artifact(tmp_path / "short.lam")


def test_states_of_one_library_are_apart(library):
    other = Library(library.library._name, "train")
    train(other, range(7))
    assert train(library).tobytes() == in_python()[0].tobytes()
    assert train(other, range(7, STEPS)).tobytes() == in_python()[0][7:].tobytes()
    with ThreadPoolExecutor(4) as pool:
        states = [Library(library.library._name, "train") for _ in range(4)]
        assert {losses.tobytes() for losses in pool.map(train, states)} == {in_python()[0].tobytes()}


@needs_cc
def test_two_models_train_in_one_program(artifact, tmp_path):
    def descend(w, x):
        value, gradient = lm.value_and_grad(lambda w: lm.sum((x - w) ** 2))(w)
        return w - 0.25 * gradient, value
    build(artifact, tmp_path / "libtrain.a")
    build(descend, tmp_path / "liblow.a", np.zeros(3, np.float32), lm.TensorSpec((3,)), state=0)
    (tmp_path / "main.c").write_text("""
#include "train.h"
#include "low.h"
#include <string.h>
int main(void) {
    train_state *a = train_init();
    low_state *b = low_init();
    float x[55] = {0}, target[3] = {1, 2, 3}, loss, value = -1;
    int64_t y[11] = {0};
    for (int i = 0; i < 60; i++) {
        if (train_step(a, x, y, &loss) != TRAIN_OK || low_step(b, target, &value) != LOW_OK) return 1;
    }
    if (memcmp(low_array(b, LOW_STATE_W), target, sizeof target) || value != 0 || !(loss < 0.9f)) return 2;
    if (low_save(b, "low.safetensors") != LOW_OK || train_load(a, "low.safetensors") != TRAIN_ERROR_FORMAT) return 3;
    train_free(a);
    low_free(b);
    return 0;
}
""")
    subprocess.run([CC, *STRICT, "main.c", "libtrain.a", "liblow.a", "-lm", "-lpthread", "-o", "main"], cwd=tmp_path,
                   check=True)
    assert subprocess.run([tmp_path / "main"], cwd=tmp_path).returncode == 0


@needs_linker
def test_results_that_can_not_lie_in_the_place_of_the_old(tmp_path):
    def turn(state, x):
        a, b, kept = state
        return (b, a + x, kept), lm.sum(a)
    first = (np.arange(4, dtype=np.float32), np.full(4, 10, np.float32), np.array([np.nan, np.inf, -0.0]))
    artifact = as_artifact(turn, first, lm.TensorSpec((4,)), state=0)
    assert not all(s.is_in_place for s in c_model(artifact.manifest, "turn").state)
    library, state = Library(build(artifact, tmp_path / "libturn.so"), "turn"), first
    for i in range(5):
        x, total = np.full(4, i, np.float32), np.zeros((), np.float32)
        assert library.step(x, total) == OK and total == state[0].sum()
        state = (state[1], state[0] + x, state[2])
        assert_same_bits([library.array(k, a) for k, a in enumerate(state)], list(state))


@needs_linker
def test_a_step_that_is_refused_leaves_the_state(tmp_path):
    path = build(lambda w, x: (w + lm.sum(x), w), tmp_path / "libsum.so", np.array([1.0, 2.0]),
                 lm.TensorSpec(("n",), "float64"), state=0, dims={"n": (1, 4)})
    library, x, out = Library(path, "sum"), np.ones(9), np.zeros(2)
    assert library.step(9, x, out) == ERROR_EXTENT and library.array(0, out).tolist() == [1, 2]
    assert library.step(3, x, out) == OK and library.array(0, out).tolist() == [4, 5] and out.tolist() == [1, 2]


@needs_linker
def test_a_step_of_lamina_train_becomes_a_library(tmp_path):
    one, two = lm.random.split(lm.random.key(0))
    model = nn.Sequential(nn.Linear(5, 7, key=one), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 3, key=two))

    def loss_of(model, batch, key):
        return nn.cross_entropy(nn.apply(model, batch["x"], key=key)[0], batch["y"])
    train_step = lm.train.step(loss_of, optimizer, clip_norm=1.0)
    start = lm.train.start(model, optimizer)
    x, y = batches()
    path = build(lm.jit(train_step), tmp_path / "libfit.so", start, {"x": x[0], "y": y[0]}, state=0)
    library = Library(path, "fit")
    header = (tmp_path / "fit.h").read_text()
    assert ("fit_step(fit_state *state, const float *batch_x, const int64_t *batch_y, float *out1_gradient_norm, "
            "float *out1_loss);") in header
    compiled, state = lm.jit(train_step), start
    for i in range(4):
        norm, value = np.zeros((2, 1), np.float32)
        state, logs = compiled(state, {"x": x[i], "y": y[i]})
        assert library.step(x[i].copy(), y[i].copy(), norm, value) == OK
        assert value.tobytes() == logs["loss"].tobytes() and norm.tobytes() == logs["gradient norm"].tobytes()
    assert library.save(tmp_path / "fit.safetensors") == OK
    assert_same_bits(nn.load({"state": state}, tmp_path / "fit.safetensors"), {"state": state})


# ---- files -----------------------------------------------------------------------------------------------------------
def content(library, tmp_path):
    assert library.save(tmp_path / "now") == OK
    return (tmp_path / "now").read_bytes()


def tensors_of(data):
    return {name: x.copy() for name, x in read_tensors(data, "").items()}


def test_what_is_saved_is_what_python_would_write(library, tmp_path):
    train(library)
    data = content(library, tmp_path)
    with open(tmp_path / "python", "wb") as file:
        write_tensors(file, tensors_of(data), aligned=False)
    assert (tmp_path / "python").read_bytes() == data
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("form", ["reversed", "aligned", "spaced", "metadata"])
def test_files_of_other_programs_are_read(library, tmp_path, form):
    before = content(library, tmp_path)
    train(library)
    after = content(library, tmp_path)
    tensors, length = tensors_of(before), int.from_bytes(before[:8], "little")
    if form in ("reversed", "aligned"):
        with open(tmp_path / "file", "wb") as file:
            write_tensors(file, dict(reversed(tensors.items())), aligned=form == "aligned")
    else:
        header, metadata = json.loads(before[8:8 + length]), {"format": "np", "quoted \\ \"}": "{\"a\": [1]}"}
        text = json.dumps(header, indent=2) if form == "spaced" else json.dumps({"__metadata__": metadata} | header)
        text = text.encode()
        (tmp_path / "file").write_bytes(len(text).to_bytes(8, "little") + text + before[8 + length:])
    assert before != after and library.load(tmp_path / "file") == OK
    assert content(library, tmp_path) == before


def test_a_wrong_or_damaged_file_changes_nothing(library, tmp_path):
    good = content(library, tmp_path)
    train(library)
    now = content(library, tmp_path)
    length = int.from_bytes(good[:8], "little")
    name = "params.one.w"

    def written(tensors):
        with open(tmp_path / "file", "wb") as file:
            write_tensors(file, tensors, aligned=False)
        return (tmp_path / "file").read_bytes()

    def with_header(change):
        header = json.loads(good[8:8 + length])
        text = json.dumps(change(header) or header).encode()
        return len(text).to_bytes(8, "little") + text + good[8 + length:]

    tensors = tensors_of(good)
    wrong = {f"cut at {n}": good[:n] for n in (0, 1, 7, 8, 9, 8 + length // 2, 8 + length, 9 + length, len(good) - 1)}
    wrong |= {
        "longer": good + b"\0",
        "missing": written({n: x for n, x in tensors.items() if n != name}),
        "unknown": written(tensors | {"more": np.zeros(1, np.float32)}),
        "dtype": written(tensors | {name: tensors[name].view(np.int32)}),
        "shape": written(tensors | {name: tensors[name].T.copy()}),
        "rank": written(tensors | {name: tensors[name].reshape(-1)}),
        "name": written({n.replace("one", "eno"): x for n, x in tensors.items()}),
        "huge header": (1 << 62).to_bytes(8, "little") + good[8:],
        "negative header": b"\xff" * 8 + good[8:],
        "no JSON": good[:8] + b"x" * length + good[8 + length:],
        "zeros": good[:8] + bytes(length) + good[8 + length:],
        "unclosed": good[:8] + good[8:8 + length].replace(b"}}", b"} ") + good[8 + length:],
        "unended string": good[:8] + b'{"' + b"a" * (length - 2) + good[8 + length:],
        "ends in an escape": good[:8] + b'{"' + b"a" * (length - 3) + b"\\" + good[8 + length:],
        "outside": with_header(lambda h: h[name].update(data_offsets=[o + 10 ** 6 for o in h[name]["data_offsets"]])),
        "far outside": with_header(lambda h: h[name].update(data_offsets=[10 ** 16, 10 ** 16 + 140])),
        "beyond 64 bits": with_header(lambda h: h[name].update(data_offsets=[2 ** 64, 2 ** 64 + 140])),
        "fewer bytes": with_header(lambda h: h[name].update(data_offsets=[0, 4])),
        "negative": with_header(lambda h: h[name].update(data_offsets=[-140, 0])),
        "fraction": with_header(lambda h: h[name].update(shape=[5.5, 7])),
        "leading zero": good[:8] + good[8:8 + length].replace(b"[5,7]", b"[5,07]")[:length] + good[8 + length:],
        "no dtype": with_header(lambda h: h[name].pop("dtype") and None),
        "other key": with_header(lambda h: h[name].update(more=1)),
        "high rank": with_header(lambda h: h[name].update(shape=[5, 7] + [1] * 100)),
        "number": with_header(lambda h: h.update({name: 3})),
        "list": with_header(list),
        "twice": good[:8] + good[8:8 + length].replace(b"params.one.b", b"params.one.w") + good[8 + length:],
        "npy": b"\x93NUMPY\x01\x00v\x00" + bytes(200),
    }
    for case, data in wrong.items():
        (tmp_path / "wrong").write_bytes(data)
        status = library.load(tmp_path / "wrong")
        assert status == (ERROR_MEMORY if case == "far outside" else ERROR_FORMAT), case
        assert content(library, tmp_path) == now, case
    assert library.load(tmp_path / "none") == ERROR_FILE and library.load(tmp_path) == ERROR_FILE
    assert content(library, tmp_path) == now
    (tmp_path / "good").write_bytes(good)
    assert library.load(tmp_path / "good") == OK and content(library, tmp_path) == good


def test_a_file_that_can_not_be_written(library, tmp_path):
    assert library.save(tmp_path / "none" / "file") == ERROR_FILE and library.save(tmp_path) == ERROR_FILE
    assert library.save("/dev/full") == ERROR_FILE
    assert not list(tmp_path.glob("**/*.tmp"))


@pytest.mark.parametrize("kind", ["libtrain.a", "train.o"])
def test_it_builds_for_arm(tmp_path, kind):
    if kind == "train.o" and shutil.which("aarch64-linux-gnu-ld") is None:
        pytest.skip("needs aarch64-linux-gnu-ld")
    path = build(lambda w, x: (w + x, w), tmp_path / kind, W, X, state=0, options=lm.Options(target="aarch64"))
    data = path.read_bytes()
    at = data.index(b"\x7fELF")
    assert int.from_bytes(data[at + 18:at + 20], "little") == 183


@needs_linker
def test_every_dtype_and_odd_names_travel(tmp_path):
    types = ("bool", "int8", "uint16", "int32", "int64", "uint64", "float16", "bfloat16", "float32", "float64")
    state = {f'a "{t}" \\ \u00e4 \u65e5/\t*/': np.arange(3).astype(numpy_dtype(t)) for t in types}
    state |= {"empty": np.zeros((0, 4), np.float32), "scalar": np.array(7)}

    def turn(s, x):
        return ({n: lm.flip(a, axis=0) if a.ndim else a + x for n, a in s.items()},)
    library = Library(build(turn, tmp_path / "libodd.so", state, lm.TensorSpec((), "int64"), state=0), "odd")
    if CC:
        subprocess.run([CC, *STRICT, "-fsyntax-only", "-x", "c", tmp_path / "odd.h"], check=True)
    assert library.step(np.array(5)) == OK and library.save(tmp_path / "file") == OK
    found = nn.load({"s": state}, tmp_path / "file")["s"]
    assert_same_bits(found, {n: a[::-1].copy() if a.ndim else a + 5 for n, a in state.items()})
    nn.save({"s": state}, tmp_path / "python")
    assert library.load(tmp_path / "python") == OK and library.save(tmp_path / "file") == OK
    assert_same_bits(nn.load({"s": state}, tmp_path / "file")["s"], state)
    data = (tmp_path / "python").read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    text = json.dumps(json.loads(data[8:end]), ensure_ascii=False).encode()
    assert "\u65e5".encode() in text
    (tmp_path / "utf8").write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
    assert library.load(tmp_path / "utf8") == OK


# ---- what is refused -------------------------------------------------------------------------------------------------
X = lm.TensorSpec((3,))
W = np.zeros(3, np.float32)


@pytest.mark.parametrize("function, arguments, state, words", [
    (lambda w, x: (w + x, x), (X, X), 0, "'w' is state, which begins with values"),
    (lambda w, x: (x, w), (W, X), 2, "does not number some of the 2 arguments"),
    (lambda w, x: (x, w), (W, X), (), "does not number some"),
    (lambda w, x: (x, w), (W, X), (0, -2), "does not number some"),
    (lambda w, x: lm.sum(x), ({"a": W}, X), 0, "does not begin with its state"),
    (lambda w, x: ({"b": x}, x), ({"a": W}, X), 0, "result 0 .* key 'b' only in the first"),
    (lambda w, x: lm.sum(w * x), (W, X), 0, "returns 'w' as f32\\[\\], it takes f32\\[3\\]"),
    (lambda w, x: (w.astype("float64"), x), (W, X), 0, "returns 'w' as f64"),
    (lambda w, x: (w, x), ({}, X), 0, "hold no arrays"),
    (W, (W,), 0, "is no function"),
])
def test_a_step_that_does_not_return_its_state(function, arguments, state, words):
    with pytest.raises(LaminaError, match=words):
        as_artifact(function, *arguments, state=state)


def test_what_can_not_be_a_training_library(artifact, tmp_path):
    with pytest.raises(UnsupportedError, match=r"keeps no state(.|\n)*library"):
        build(artifact, tmp_path / "train")
    with pytest.raises(LaminaError, match="compiled already"):
        build(artifact, tmp_path / "libtrain.a", state=0)
    with pytest.raises(UnsupportedError, match="129 arrays and dims beside its state"):
        build(lambda w, *xs: (w + xs[0], *xs[:64]), tmp_path / "libmany.a", W, *[X] * 65, state=0)
