"""Do models leave as libraries, objects and programs that C programs and shells use, with whatever linker there is?"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.codegen import standalone
from lamina.compiler.codegen.c_names import c_model
from lamina.compiler.codegen.support.platforms import C_FUNCTIONS
from lamina.compiler.core.options import Options
from lamina.frontends.build import as_artifact, build
from lamina.runtime import link as link_module
from lamina.runtime import constants
from lamina.runtime.constants import constant_offsets, write_constants
from lamina.runtime.elf import read_object
from lamina.runtime.errors import FormatError, LaminaError, UnsupportedError
from lamina.runtime.executable import Executable
from lamina.runtime.signature import numpy_dtype

CC, LD, NM = map(shutil.which, ("cc", "ld", "nm"))
needs_cc = pytest.mark.skipif(CC is None, reason="needs a C compiler")
needs_ld = pytest.mark.skipif(LD is None, reason="needs ld")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")

rng = np.random.default_rng(0)
W, V = rng.random((8, 24), np.float32), rng.random((24, 4), np.float32)
X = rng.random((6, 8), np.float32)


def probabilities(x):
    h = np.tanh(x @ W) @ V
    e = np.exp(h - h.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def symbolic():
    """Two layers and a softmax for any even batch up to 64; its second output is an expression of it."""
    def model(x):
        h = lm.tanh(x @ W) @ V
        return lm.softmax(h, axis=-1), lm.reshape(h * 2, (-1,))
    graph = lm.trace(model, lm.TensorSpec(("batch", 8), "float32", "x"), dims={"batch": (2, 64, 2)})
    return as_artifact(graph)


@pytest.fixture(scope="module")
def fixed():
    """y = a . b + 1 of fixed shapes."""
    return as_artifact(lambda a, b: lm.sum(a * b) + 1, lm.TensorSpec((3,), "float32", "a"), lm.TensorSpec((3,), "float32", "b"))


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def call(library, name, x, cap=None):
    """The two outputs of `symbolic` by its C functions, and the status."""
    n = len(x)
    y, z = np.full((n, 4), np.nan, np.float32), np.full(4 * n, np.nan, np.float32)
    if cap is None:
        status = getattr(library, name)(ctypes.c_int64(n), pointer(x), pointer(y), pointer(z))
    else:
        words = (ctypes.c_void_p * 1)(x.ctypes.data), (ctypes.c_void_p * 2)(y.ctypes.data, z.ctypes.data)
        status = getattr(library, name + "_run")((ctypes.c_int64 * 1)(n), *words, cap)
    return y, z, status


# ---- from C ---------------------------------------------------------------------------------------------------------------
MAIN = """
#include "two.h"
#include <stdio.h>
int main(void) {
    float x[6 * 8], y[6 * 4], z[6 * 4];
    int64_t batch = 6, extents[5];
    for (int i = 0; i < 6 * 8; i++) x[i] = (float)i / 48;
    if (two(batch, x, y, z) != TWO_OK || two(3, x, y, z) != TWO_ERROR_EXTENT || two(66, x, y, z) != TWO_ERROR_EXTENT) return 1;
    const void *inputs[TWO_INPUTS];
    void *outputs[TWO_OUTPUTS];
    inputs[TWO_INPUT_X] = x;
    outputs[TWO_OUTPUT_OUT0] = y;
    outputs[TWO_OUTPUT_OUT1] = z;
    if (two_run(&batch, inputs, outputs, 1) != TWO_OK) return 2;
    two_set_threads(2);
    two_extents(&batch, extents);
    if (extents[0] != 6 || extents[1] != 8 || extents[2] != 6 || extents[3] != 4 || extents[4] != 24) return 3;
    if (two_arena_bytes(&batch) <= 0) return 4;
    two_release();
    for (int i = 0; i < 24; i++) printf("%.9g\\n", (double)y[i]);
    fprintf(stderr, "%s\\n", two_version());
    return 0;
}
"""


@needs_cc
@pytest.mark.parametrize("kind, arguments", [("libtwo.so", ["-L.", "-ltwo", "-Wl,-rpath,$ORIGIN"]), ("libtwo.a", ["libtwo.a", "-lm", "-lpthread"]),
                                             ("two.o", ["two.o", "-lm", "-lpthread"]), ("libtwo.a", ["-static", "libtwo.a", "-lm", "-lpthread"])])
def test_a_c_program_uses_the_library(symbolic, tmp_path, kind, arguments):
    build(symbolic, tmp_path / kind)
    (tmp_path / "main.c").write_text(MAIN)
    run(CC, *STRICT, "main.c", *arguments, "-o", "main", cwd=tmp_path)
    x = (np.arange(48, dtype=np.float32) / 48).reshape(6, 8)
    found = np.array(run(tmp_path / "main", cwd="/").split(), np.float32).reshape(6, 4)
    np.testing.assert_allclose(found, probabilities(x), rtol=1e-5)


@needs_cc
@pytest.mark.parametrize("model", ["symbolic", "fixed"])
def test_the_example_in_the_header_compiles_and_runs(request, tmp_path, model):
    build(request.getfixturevalue(model), tmp_path / "libdemo.a")
    header = (tmp_path / "demo.h").read_text()
    example = re.search(r"Example:\n\n(.*?)\*/", header, re.DOTALL)[1]
    (tmp_path / "main.c").write_text(example)
    run(CC, *STRICT, "main.c", "libdemo.a", "-lm", "-lpthread", "-o", "main", cwd=tmp_path)
    run(tmp_path / "main")
    if shutil.which("c++"):
        run("c++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", "c++", tmp_path / "demo.h")


def test_the_header_tells_shapes_dims_and_sizes(symbolic, fixed, tmp_path):
    text = build(symbolic, tmp_path / "net.h").read_text()
    assert "x: float32 [batch, 8]" in text and "out1: float32 [4*batch]" in text and "batch: 2 to 64, a multiple of 2" in text
    assert "int32_t net(int64_t batch, const float *x, float *out0, float *out1);" in text
    text = build(fixed, tmp_path / "net.h").read_text()
    assert "#define NET_INPUT_A_ELEMENTS INT64_C(3)" in text and "int32_t net(const float *a, const float *b, float *out" in text
    assert os.listdir(tmp_path) == ["net.h"]


@needs_cc
def test_every_dtype_has_a_c_type(tmp_path):
    types = {"bool": "bool", "int8": "int8_t", "uint16": "uint16_t", "int64": "int64_t", "float16": "uint16_t", "bfloat16": "uint16_t",
             "float32": "float", "float64": "double"}
    specs = [lm.TensorSpec((4,), name, f"in {name}") for name in types]
    build(lambda *arrays: tuple(lm.flip(a, axis=0) for a in arrays), tmp_path / "libt.so", *specs)
    text = (tmp_path / "t.h").read_text()
    for name, c_type in types.items():
        assert f"const {c_type} *in_{name}" in text and f"in_{name}: in {name}, {name} [4]" in text
    run(CC, *STRICT, "-fsyntax-only", "-x", "c", tmp_path / "t.h")
    library = ctypes.CDLL(str(tmp_path / "libt.so"))
    inputs = [np.arange(1, 5).astype(numpy_dtype(name)) for name in types]
    outputs = [np.zeros_like(a) for a in inputs]
    assert library.t(*map(pointer, inputs), *map(pointer, outputs)) == 0
    for a, b in zip(inputs, outputs):
        np.testing.assert_array_equal(a[::-1], b)


# ---- the shared library -----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def library(symbolic, tmp_path_factory):
    if CC is None and LD is None:
        pytest.skip("needs a linker")
    return ctypes.CDLL(str(build(symbolic, tmp_path_factory.mktemp("so") / "libnet.so")))


@pytest.mark.parametrize("batch", [2, 6, 64])
def test_a_shared_library_gives_the_executables_numbers(symbolic, library, batch):
    x = np.random.default_rng(batch).random((batch, 8), np.float32)
    expected = Executable(symbolic)(x)
    for cap in (None, 0, 1, 2):
        y, z, status = call(library, "net", x, cap)
        assert status == 0
        np.testing.assert_array_equal(y, expected[0])
        np.testing.assert_array_equal(z, expected[1])


@pytest.mark.parametrize("batch, status", [(0, 1), (3, 1), (66, 1), (-2, 1), (4, 0)])
def test_a_dim_that_breaks_its_facts_is_a_status(library, batch, status):
    x, y, z = (np.zeros(1000, np.float32) for _ in range(3))
    assert library.net(ctypes.c_int64(batch), pointer(x), pointer(y), pointer(z)) == status


def test_a_shared_library_exports_its_model_alone(symbolic, tmp_path):
    if NM is None or LD is None and CC is None:
        pytest.skip("needs nm and a linker")
    lines = run(NM, "-D", "--defined-only", build(symbolic, tmp_path / "libnet.so")).splitlines()
    assert {line.split()[-1] for line in lines} == set(c_model(symbolic.manifest, "net").functions)


def test_threads_call_one_library_at_a_time_with_different_dims(library):
    inputs = {n: np.random.default_rng(n).random((n, 8), np.float32) for n in (2, 10, 64)}
    expected = {n: probabilities(x) for n, x in inputs.items()}
    errors = []

    def work(seed: int) -> None:
        order = np.random.default_rng(seed).choice(list(inputs), 150)
        for n in map(int, order):
            y, _, status = call(library, "net", inputs[n], cap=2)
            if status or not np.allclose(y, expected[n], rtol=1e-5):
                errors.append((n, status))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(20)]  # more than arenas are kept
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    library.net_release()
    assert call(library, "net", inputs[10])[2] == 0


def test_memory_that_the_system_does_not_give_is_a_status(tmp_path):
    if LD is None and CC is None:
        pytest.skip("needs a linker")
    spec = lm.TensorSpec(("n",), "float32", "x")
    path = build(lambda x: lm.sum(lm.sort(lm.flip(x, axis=0) + 1)), tmp_path / "libbig.so", spec, dims={"n": (0, None)})
    library = ctypes.CDLL(str(path))
    library.big_arena_bytes.restype = ctypes.c_int64
    x, n = np.zeros(4, np.float32), ctypes.c_int64(1 << 58)
    assert library.big_arena_bytes(ctypes.byref(n)) >= 1 << 58
    assert library.big(n, pointer(x), pointer(x)) == 2


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86 finds out about its features by CPUID")
def test_a_cpu_without_the_instructions_is_a_status(fixed, tmp_path, monkeypatch):
    if LD is None and CC is None:
        pytest.skip("needs a linker")
    reserved = (1, 2, 16)  # CPUID leaf 1, ecx bit 16: always 0
    monkeypatch.setitem(standalone._CPUID, "popcnt", reserved)
    library = ctypes.CDLL(str(build(fixed, tmp_path / "libnet.so")))
    a, y = np.ones(3, np.float32), np.zeros((), np.float32)
    assert [library.net(pointer(a), pointer(a), pointer(y)) for _ in range(2)] == [3, 3]
    monkeypatch.undo()
    library = ctypes.CDLL(str(build(fixed, tmp_path / "libother.so")))
    assert [library.other(pointer(a), pointer(a), pointer(y)) for _ in range(2)] == [0, 0] and y == 4


def test_a_library_that_is_closed_while_its_workers_sleep(tmp_path):
    if LD is None and CC is None:
        pytest.skip("needs a linker")
    path = build(lambda x: lm.exp(x), tmp_path / "libwide.so", lm.TensorSpec((1 << 18,), "float32", "x"))
    script = f"""
import _ctypes, ctypes, time
memory = (ctypes.c_float * (1 << 18))(), (ctypes.c_float * (1 << 18))()
for _ in range(3):
    library = ctypes.CDLL({str(path)!r})
    library.wide_set_threads(4)
    assert library.wide(*memory) == 0 and memory[1][7] == 1.0
    library.wide_release()
    _ctypes.dlclose(library._handle)
    time.sleep(0.05)
print(open("/proc/self/status").read().split("Threads:")[1].split()[0])
"""
    assert int(run(sys.executable, "-S", "-c", script)) > 1, "the workers are still there, and so is their code"


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "aarch64"])
def test_objects_need_the_c_library_alone(target):
    def model(x):
        return lm.tanh(x) + lm.exp(x) % lm.sqrt(x + 2), lm.sum(x), lm.round(x)
    images = as_artifact(model, lm.TensorSpec((37,), "float16"), options=Options(target=target)).objects
    symbols = [read_object(image) for image in images.values()]
    undefined = {u for s in symbols for u in s.undefined} - {d for s in symbols for d in s.defined}
    assert undefined and undefined <= C_FUNCTIONS | {"memset", "memcpy", "memmove"}


# ---- several models in one process ------------------------------------------------------------------------------------------
BOTH = """
#include "one.h"
#include "two.h"
#include "three.h"
#include <stdio.h>
int main(void) {
    float a[3] = {1, 2, 3}, s = 0, r = 0, x[16] = {0}, y[8], z[8];
    if (one(a, a, &s) || two(2, x, y, z) || three(a, a, &r)) return 1;
    printf("%g %g %g\\n", (double)s, (double)y[0], (double)r);
    return 0;
}
"""


@needs_cc
@pytest.mark.parametrize("suffix", [".a", ".o", ".so"])
def test_models_are_linked_into_one_program(fixed, symbolic, tmp_path, suffix):
    names = [("lib" if suffix != ".o" else "") + n + suffix for n in ("one", "two", "three")]
    for name, model in zip(names, (fixed, symbolic, fixed)):  # the third has the first's kernels and program
        build(model, tmp_path / name)
    (tmp_path / "main.c").write_text(BOTH)
    run(CC, *STRICT, "main.c", *("./" + n for n in names), "-lm", "-lpthread", "-Wl,-rpath,$ORIGIN", "-o", "main", cwd=tmp_path)
    total, _, again = map(float, run(tmp_path / "main", cwd=tmp_path).split())
    assert total == again == 15
    if suffix != ".so" and NM:
        defined = [line.split()[-1] for line in run(NM, "--defined-only", tmp_path / "main").splitlines()]
        assert defined.count("lamina_parallel") == 1, "one thread pool"


# ---- programs -----------------------------------------------------------------------------------------------------------------
def check_program(program: Path, folder: Path, prefix=()):
    folder.mkdir()
    np.save(folder / "in.npy", X)
    env = {} if not prefix else {"PATH": os.environ["PATH"]}
    run(*prefix, program, "--threads", 2, "x=in.npy", "-o", "out0=y.npy", cwd=folder, env=env)
    np.testing.assert_allclose(np.load(folder / "y.npy"), probabilities(X), rtol=1e-5)
    assert np.load(folder / "out1.npy").shape == (24,)


@pytest.mark.parametrize("linker", ["cc", "ld"])
def test_a_program_needs_no_python(symbolic, tmp_path, linker):
    if shutil.which(linker) is None:
        pytest.skip(f"needs {linker}")
    program = build(symbolic, tmp_path / "main", linker=linker)
    assert os.listdir(tmp_path) == ["main"]
    check_program(program, tmp_path / "elsewhere")
    done = subprocess.run([program], capture_output=True, text=True, env={})
    assert done.returncode == 2 and "input 'x' is missing: float32 (batch, 8)" in done.stderr


def test_a_program_is_built_from_a_saved_artifact(symbolic, tmp_path):
    if LD is None and CC is None:
        pytest.skip("needs a linker")
    saved = build(symbolic, tmp_path / "m.lam")
    check_program(build(saved, tmp_path / "my-model.2"[:8]), tmp_path / "elsewhere")
    with pytest.raises(LaminaError, match="compiled already"):
        build(saved, tmp_path / "other", options=Options(fuse=False))


@pytest.mark.parametrize("kind", ["m", "libm.so", "libm.a", "m.o"])
def test_it_builds_for_arm(tmp_path, kind):
    tool, emulator = shutil.which("aarch64-linux-gnu-ld"), shutil.which("qemu-aarch64-static")
    spec, options = lm.TensorSpec(("batch", 8), "float32", "x"), Options(target="aarch64")

    def model(x):
        h = lm.tanh(x @ W) @ V
        return lm.softmax(h, axis=-1), lm.reshape(h * 2, (-1,))
    if kind != "libm.a" and tool is None:
        pytest.skip("needs aarch64-linux-gnu-ld")
    path = build(model, tmp_path / kind, spec, dims={"batch": (1, 64)}, options=options)
    data = path.read_bytes()
    at = data.index(b"\x7fELF")
    assert int.from_bytes(data[at + 18:at + 20], "little") == 183
    if kind == "m" and emulator and Path("/usr/aarch64-linux-gnu/lib").exists():
        check_program(path, tmp_path / "elsewhere", (emulator, "-L", "/usr/aarch64-linux-gnu"))


# ---- linkers ------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def only(monkeypatch, tmp_path):
    """only("ld"): the tools on PATH are these, and the ziglang package is not installed."""
    def set_tools(*names):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in names:
            (folder / name).symlink_to(os.path.realpath(shutil.which(name)))
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setattr(link_module, "has_ziglang", lambda: False)
    return set_tools


@needs_ld
def test_ld_alone_is_enough(symbolic, tmp_path, only):
    only("ld")
    check_program(build(symbolic, tmp_path / "main"), tmp_path / "elsewhere")
    library = ctypes.CDLL(str(build(symbolic, tmp_path / "libnet.so")))
    np.testing.assert_allclose(call(library, "net", X)[0], probabilities(X), rtol=1e-5)
    assert "net" in read_object(build(symbolic, tmp_path / "net.o").read_bytes()).defined


def test_no_linker_says_what_to_install(symbolic, tmp_path, only):
    only()
    for name in ("main", "libnet.so", "net.o"):
        with pytest.raises(UnsupportedError, match=r"no linker for \w+ was found \(looked for cc.*ziglang(.|\n)*apt install gcc(.|\n)*lamina\[ziglang\]"):
            build(symbolic, tmp_path / name)
    build(symbolic, tmp_path / "libnet.a")
    build(symbolic, tmp_path / "net.lam")
    assert sorted(os.listdir(tmp_path)) == ["bin", "libnet.a", "net.h", "net.lam"]


def test_a_linker_that_is_not_there_is_named(symbolic, tmp_path):
    with pytest.raises(UnsupportedError, match="looked for no-such-linker"):
        build(symbolic, tmp_path / "libnet.so", linker="no-such-linker")


def test_a_linker_that_fails_is_quoted_and_leaves_nothing(symbolic, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('crt1.o: none such')\n")
    broken.chmod(0o755)
    (tmp_path / "out").mkdir()
    with pytest.raises(LaminaError, match=r"libnet.so could not be linked(.|\n)*exit status 1(.|\n)*crt1.o: none such"):
        build(symbolic, tmp_path / "out" / "libnet.so", linker=str(broken))
    assert os.listdir(tmp_path / "out") == []


@needs_ld
def test_a_linker_that_fails_gives_way_to_the_next(symbolic, tmp_path, only):
    only("ld")
    broken = tmp_path / "bin" / "cc"
    broken.write_text("#!/bin/false\n")
    broken.chmod(0o755)
    assert build(symbolic, tmp_path / "libnet.so").exists()


@needs_ld
def test_the_environment_names_a_linker(symbolic, tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_LINKER", "no-such-linker")
    with pytest.raises(UnsupportedError, match="looked for no-such-linker"):
        build(symbolic, tmp_path / "libnet.so")
    assert build(symbolic, tmp_path / "libnet.so", linker="ld").exists()


def test_ziglang_is_enough(symbolic, tmp_path, only):
    if not link_module.has_ziglang():
        pytest.skip("needs the ziglang package")
    check_program(build(symbolic, tmp_path / "main", linker="ziglang"), tmp_path / "elsewhere")
    library = ctypes.CDLL(str(build(symbolic, tmp_path / "libnet.so", linker="ziglang")))
    np.testing.assert_allclose(call(library, "net", X)[0], probabilities(X), rtol=1e-5)


# ---- names --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["main", "int", "malloc", "2x", "a-b", "", "class"])
def test_names_that_c_does_not_take(symbolic, tmp_path, name):
    if name:
        with pytest.raises(UnsupportedError, match="can't be the name of a model's C functions(.|\n)*name="):
            build(symbolic, tmp_path / "libnet.a", name=name)
    else:
        assert (build(symbolic, tmp_path / "lib.a").parent / "lib.h").exists()


def test_a_name_is_made_from_the_files(symbolic, tmp_path):
    build(symbolic, tmp_path / "libres-net.50.a")
    assert "int32_t res_net_50(" in (tmp_path / "res_net_50.h").read_text()
    build(symbolic, tmp_path / "libother.a", name="mine")
    assert "int32_t mine(" in (tmp_path / "mine.h").read_text()


@pytest.mark.parametrize("names, identifiers", [
    (["x", "X", "x!"], ["x", "X_2", "x__3"]), (["int", "net", "1"], ["a_int", "a_net", "a_1"]),
    (["", "/*evil*/", "日本"], ["array", "evil__", "array_2"])])
def test_inputs_get_identifiers(names, identifiers):
    rows = [{"name": n, "dtype": "float32", "shape": [1], "form": [1]} for n in names]
    model = c_model({"inputs": rows, "outputs": [], "symbols": {}}, "net")
    found = [a.identifier for a in model.inputs]
    assert len({f.upper() for f in found}) == len(found) and all(re.fullmatch(r"[A-Za-z]\w*", f, re.ASCII) for f in found)
    assert found[0] == identifiers[0]


def test_a_model_of_many_arrays_has_no_function_of_them_all(tmp_path):
    specs = [lm.TensorSpec((), "float32", f"x{i}") for i in range(130)]
    build(lambda *arrays: sum(arrays), tmp_path / "libmany.a", *specs)
    text = (tmp_path / "many.h").read_text()
    assert "int32_t many(" not in text and "many_run(dims, inputs, outputs, 0)" in text


def test_outputs_that_can_not_be(symbolic, tmp_path):
    with pytest.raises(LaminaError, match="suffix '.dll'"):
        build(symbolic, tmp_path / "net.dll")
    with pytest.raises(LaminaError, match="there is no folder"):
        build(symbolic, tmp_path / "none" / "libnet.so")


# ---- objects and archives -------------------------------------------------------------------------------------------------------
def test_equal_models_give_equal_libraries(symbolic, tmp_path):
    (tmp_path / "other").mkdir()
    first, second = build(symbolic, tmp_path / "libm.a"), build(symbolic, tmp_path / "other" / "libm.a")
    assert first.read_bytes() == second.read_bytes()
    if LD or CC:
        first, second = build(symbolic, tmp_path / "libm.so"), build(symbolic, tmp_path / "other" / "libm.so")
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.skipif(shutil.which("ar") is None or NM is None, reason="needs binutils")
def test_ar_and_nm_read_the_archive(symbolic, tmp_path):
    path = build(symbolic, tmp_path / "libm.a")
    members = run("ar", "t", path).split()
    assert {"model.o", "host.o", "support.o", "constants.o"} <= set(members)
    listed = run(NM, "--print-armap", path)
    for name in ("m_run", "lamina_parallel", "m_constants"):
        assert re.search(rf"^{name} in \w+\.o$", listed, re.MULTILINE)


@needs_cc
@pytest.mark.parametrize("kind", ["libtwo.a", "libtwo.so", "two.o"])
def test_constants_out_of_the_reach_of_code(symbolic, tmp_path, monkeypatch, kind):
    if os.uname().machine != "x86_64":
        pytest.skip("x86-64 has a section for large data")
    monkeypatch.setattr(constants, "write_constants", partial(write_constants, large=0))
    build(symbolic, tmp_path / kind)
    (tmp_path / "main.c").write_text(MAIN)
    run(CC, *STRICT, "main.c", "./" + kind, "-lm", "-lpthread", "-Wl,-rpath,$ORIGIN", "-o", "main", cwd=tmp_path)
    x = (np.arange(48, dtype=np.float32) / 48).reshape(6, 8)
    found = np.array(run(tmp_path / "main", cwd=tmp_path).split(), np.float32).reshape(6, 4)
    np.testing.assert_allclose(found, probabilities(x), rtol=1e-5)


def test_constants_become_an_aligned_object(tmp_path):
    arrays = [np.arange(5, dtype=np.int16), np.zeros((0, 3)), np.array(2.5), rng.random((3, 50)).T]
    with open(tmp_path / "c.o", "wb") as file:
        write_constants(file, "x86_64", "net_constants", arrays)
    data = (tmp_path / "c.o").read_bytes()
    assert read_object(data).defined == ("net_constants",) and read_object(data).undefined == ()
    for array, offset in zip(arrays, constant_offsets(arrays)):
        assert offset % 64 == 0 and data[64 + offset:64 + offset + array.nbytes] == array.tobytes()
    with pytest.raises(FormatError, match="the object"):
        read_object(data[:-1])
    with pytest.raises(FormatError, match="no 64-bit"):
        read_object(b"x" * 100)
    with pytest.raises(UnsupportedError, match="riscv64"):
        write_constants(None, "riscv64", "x", [])
