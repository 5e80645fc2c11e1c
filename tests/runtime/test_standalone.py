"""Does a program without Python read .npy files, check them, run and write, and say clearly what is wrong?"""

import io
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from lamina.compiler.codegen.support import Array, Interface, SymbolFacts, main_ir, start_ir, support_ir
from lamina.compiler.codegen.support.main import help_text
from lamina.compiler.core.errors import UnsupportedError

TOY = Interface("toy", inputs=(Array("x", "float32", ("batch", 3)), Array("y", "float32", ("batch", 3)),
                               Array("z", "int64", ("2*batch",))),
                outputs=(Array("sum", "float32", ("batch", 3)), Array("a/twice", "int64", ("2*batch",))),
                symbols=(SymbolFacts("batch", 2, 64, multiple=2),))

# sum = x + y, one chunk a row; a/twice = 2 z. Status 7 if x[0, 0] is negative.
TOY_MODEL = """
declare void @lamina_parallel(ptr, ptr, i64, i32)
declare i32 @lamina_begin(i32)
declare void @lamina_end(i32)

define void @toy_extents(ptr %symbols, ptr %extents) {
  %batch = load i64, ptr %symbols
  %twice = mul i64 %batch, 2
  store i64 %batch, ptr %extents
  %e1 = getelementptr i64, ptr %extents, i64 1
  store i64 3, ptr %e1
  %e2 = getelementptr i64, ptr %extents, i64 2
  store i64 %batch, ptr %e2
  %e3 = getelementptr i64, ptr %extents, i64 3
  store i64 3, ptr %e3
  %e4 = getelementptr i64, ptr %extents, i64 4
  store i64 %twice, ptr %e4
  %e5 = getelementptr i64, ptr %extents, i64 5
  store i64 %batch, ptr %e5
  %e6 = getelementptr i64, ptr %extents, i64 6
  store i64 3, ptr %e6
  %e7 = getelementptr i64, ptr %extents, i64 7
  store i64 %twice, ptr %e7
  ret void
}

define internal void @row(ptr %args, i64 %row) {
entry:
  %inputs = load ptr, ptr %args
  %outputs.at = getelementptr ptr, ptr %args, i64 1
  %outputs = load ptr, ptr %outputs.at
  %x = load ptr, ptr %inputs
  %y.at = getelementptr ptr, ptr %inputs, i64 1
  %y = load ptr, ptr %y.at
  %sum = load ptr, ptr %outputs
  %start = mul i64 %row, 3
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %k = add i64 %start, %i
  %xk = getelementptr float, ptr %x, i64 %k
  %yk = getelementptr float, ptr %y, i64 %k
  %sk = getelementptr float, ptr %sum, i64 %k
  %a = load float, ptr %xk
  %b = load float, ptr %yk
  %s = fadd float %a, %b
  store float %s, ptr %sk
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, 3
  br i1 %more, label %loop, label %twice
twice:
  %z.at = getelementptr ptr, ptr %inputs, i64 2
  %z = load ptr, ptr %z.at
  %t.at = getelementptr ptr, ptr %outputs, i64 1
  %t = load ptr, ptr %t.at
  %from = mul i64 %row, 2
  %z0 = getelementptr i64, ptr %z, i64 %from
  %t0 = getelementptr i64, ptr %t, i64 %from
  %pair = load <2 x i64>, ptr %z0, align 8
  %double = shl <2 x i64> %pair, splat (i64 1)
  store <2 x i64> %double, ptr %t0, align 8
  ret void
}

define i32 @toy_run(ptr %symbols, ptr %inputs, ptr %outputs, i32 %cap) {
  %args = alloca [2 x ptr]
  store ptr %inputs, ptr %args
  %second = getelementptr ptr, ptr %args, i64 1
  store ptr %outputs, ptr %second
  %batch = load i64, ptr %symbols
  %threads = call i32 @lamina_begin(i32 %cap)
  call void @lamina_parallel(ptr @row, ptr %args, i64 %batch, i32 %threads)
  call void @lamina_end(i32 %threads)
  %x = load ptr, ptr %inputs
  %first = load float, ptr %x
  %bad = fcmp olt float %first, 0.0
  %status = select i1 %bad, i32 7, i32 0
  ret i32 %status
}
"""

# y = x, of any type: for what the file format alone does.
COPY_MODEL = """
define i32 @copy_run(ptr %symbols, ptr %inputs, ptr %outputs, i32 %cap) {
  %x = load ptr, ptr %inputs
  %y = load ptr, ptr %outputs
  %n = load i64, ptr %symbols
  %bytes = mul i64 %n, ITEM
  call void @llvm.memcpy.p0.p0.i64(ptr %y, ptr %x, i64 %bytes, i1 false)
  ret i32 0
}
define void @copy_extents(ptr %symbols, ptr %extents) {
  %n = load i64, ptr %symbols
  store i64 %n, ptr %extents
  %second = getelementptr i64, ptr %extents, i64 1
  store i64 %n, ptr %second
  ret void
}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""


def emit(text: str, triple: str) -> bytes:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=1, reloc="pic", codemodel="small")
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = triple, str(machine.target_data)
    module.verify()
    return machine.emit_object(module)


def build(folder: Path, interface: Interface, model: str, linker: str = "cc", triple: str | None = None) -> Path:
    """Link a program in `folder`: with cc, cc -static, ld, or ld for aarch64."""
    triple = triple or llvm.get_default_triple()
    parts = {"model": model, "main": main_ir(interface, triple), "runtime": support_ir(triple)}
    if linker == "ld":
        parts["start"] = start_ir(triple)
    for name, text in parts.items():
        (folder / f"{name}.o").write_bytes(emit(text, triple))
    objects = [f"{name}.o" for name in parts]
    if linker == "ld":
        arm = triple.startswith("aarch64") and os.uname().machine != "aarch64"
        program = "aarch64-linux-gnu-ld" if arm else "ld"
        candidates = ("/usr/aarch64-linux-gnu/lib/libc.so.6",) if arm else \
            ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6")
        library = next(filter(os.path.exists, candidates), None)
        if shutil.which(program) is None or library is None:
            pytest.skip(f"needs {program} and its C library")
        loader = "/lib/ld-linux-aarch64.so.1" if triple.startswith("aarch64") else "/lib64/ld-linux-x86-64.so.2"
        command = [program, *objects, library, "-dynamic-linker", loader, "-o", interface.name]
    else:
        if shutil.which("cc") is None:
            pytest.skip("needs a C compiler to link")
        command = [*linker.split(), *objects, "-o", interface.name]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / interface.name


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return build(tmp_path_factory.mktemp("toy"), TOY, TOY_MODEL)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """copy(dtype) is a program for y = x of that type, of any length."""
    programs = {}

    def program(dtype: str, item: int) -> Path:
        if dtype not in programs:
            interface = Interface("copy", (Array("x", dtype, ("n",)),), (Array("y", dtype, ("n",)),),
                                  (SymbolFacts("n", 0),))
            programs[dtype] = build(tmp_path_factory.mktemp(dtype), interface, COPY_MODEL.replace("ITEM", str(item)))
        return programs[dtype]

    return program


def run(program: Path, *arguments, cwd: Path, data: bytes = b"", prefix=()):
    command = [*prefix, program, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, input=data, capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr.decode()


def saved(array: np.ndarray, version=None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version)
    return buffer.getvalue()


def arrays(batch: int = 4):
    rng = np.random.default_rng(batch)
    x, y = (rng.random((batch, 3), np.float32) for _ in range(2))
    return x, y, np.arange(2 * batch)


@pytest.fixture
def files(tmp_path):
    for name, array in zip("xyz", arrays()):
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path


def check_outputs(folder: Path, total: str = "sum.npy", twice: str = "a_twice.npy", batch: int = 4):
    x, y, z = arrays(batch)
    result, doubled = np.load(folder / total), np.load(folder / twice)
    assert result.dtype == np.float32 and doubled.dtype == np.int64
    np.testing.assert_array_equal(result, x + y)
    np.testing.assert_array_equal(doubled, 2 * z)


@pytest.mark.parametrize("linker", ["cc", "cc -static", "ld"])
def test_links_and_runs(files, linker):
    (files / "build").mkdir()
    program = build(files / "build", TOY, TOY_MODEL, linker)
    assert run(program, "x.npy", "y.npy", "z.npy", cwd=files) == (0, b"", "")
    check_outputs(files)
    assert sorted(p.name for p in files.iterdir()) == ["a_twice.npy", "build", "sum.npy", "x.npy", "y.npy", "z.npy"]
    assert run(program, cwd=files)[0] == 2


def test_runs_on_arm_under_emulation(files):
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("needs qemu-aarch64-static")
    (files / "build").mkdir()
    program = build(files / "build", TOY, TOY_MODEL, "ld", "aarch64-unknown-linux-gnu")
    prefix = ("qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu")
    (files / "sum.npy").write_bytes(b"old")
    assert run(program, "--threads", "2", "x.npy", "y.npy", "z.npy", cwd=files, prefix=prefix) == (0, b"", "")
    check_outputs(files)
    code, _, error = run(program, "x.npy", "y.npy", "-o", "/dev/full", "z.npy", cwd=files, prefix=prefix)
    assert code == 1 and "No space left on device" in error


def test_names_and_order(toy, files):
    for arguments in (["x.npy", "y.npy", "z.npy"], ["z=z.npy", "x.npy", "y.npy"], ["y=y.npy", "x.npy", "z=z.npy"],
                      ["x.npy", "z=z.npy", "--", "y.npy"]):
        assert run(toy, "-o", "s", "-o", "t", *arguments, cwd=files) == (0, b"", ""), arguments
        check_outputs(files, "s", "t")
        for name in "st":
            (files / name).unlink()


def test_where_outputs_go(toy, files):
    for arguments, total, twice in ((["-o", "s.npy"], "s.npy", "a_twice.npy"),
                                    (["--output=a/twice=t.npy"], "sum.npy", "t.npy"),
                                    (["-o", "a/twice=t.npy", "--output", "s.npy"], "s.npy", "t.npy"),
                                    (["-o", "x=y"], "x=y", "a_twice.npy")):
        assert run(toy, *arguments, "x.npy", "y.npy", "z.npy", cwd=files) == (0, b"", ""), arguments
        check_outputs(files, total, twice)
        for name in (total, twice):
            (files / name).unlink()


def test_standard_input_and_output(toy, files):
    x, y, z = arrays()
    code, out, error = run(toy, "-", "y.npy", "-", "-o", "-", "-o", "-", cwd=files, data=saved(x) + saved(z))
    assert (code, error) == (0, "")
    stream = io.BytesIO(out)
    np.testing.assert_array_equal(np.load(stream), x + y)
    np.testing.assert_array_equal(np.load(stream), 2 * z)
    assert stream.read() == b"" and not (files / "-").exists()


def test_threads(toy, files):
    for arguments in (["--threads", "1"], ["--threads=2"], ["--threads", "1000000"]):
        assert run(toy, *arguments, "x.npy", "y.npy", "z.npy", cwd=files) == (0, b"", "")
        check_outputs(files)


def test_help(toy, tmp_path):
    for flag in ("-h", "--help"):
        assert run(toy, "nothing.npy", flag, cwd=tmp_path) == (0, help_text(TOY).encode(), "")
    text = help_text(TOY)
    for part in ("usage: toy ", "x.npy y.npy z.npy", "a/twice  int64 (2*batch,)", "from 2 to 64 and a multiple of 2"):
        assert part in text


@pytest.mark.parametrize("arguments, message", [
    ([], "input 'x' is missing: float32 (batch, 3)"),
    (["x.npy"], "input 'y' is missing"),
    (["x.npy", "y.npy", "z.npy", "w.npy"], "there are 3 inputs: 'w.npy' is one too many"),
    (["x=x.npy", "x=y.npy"], "'x' is given twice"),
    (["x.npy", "y.npy", "z.npy", "-o", "a", "-o", "b", "-o", "c"], "there are 2 outputs: 'c' is one too many"),
    (["--verbose"], "there is no option '--verbose'"),
    (["-q"], "there is no option '-q'"),
    (["-o"], "-o needs a value"),
    (["--threads"], "--threads needs a value"),
    (["--threads", "0"], "--threads takes a number from 1 on, not '0'"),
    (["--threads=two"], "not 'two'"),
    (["--threads="], "not ''"),
])
def test_wrong_arguments(toy, tmp_path, arguments, message):
    code, out, error = run(toy, *arguments, cwd=tmp_path)
    assert code == 2 and out == b"" and message in error and error.startswith("toy: ") and "toy -h" in error
    assert not list(tmp_path.iterdir())


def header(text: bytes, version: bytes = b"\x01\x00", length: int | None = None) -> bytes:
    length = len(text) if length is None else length
    return b"\x93NUMPY" + version + length.to_bytes(2 if version[0] == 1 else 4, "little") + text


X = arrays()[0]
NARROW = arrays()[0][:, :2]
REST = b", 'fortran_order': False, 'shape': (4, 3), }"


@pytest.mark.parametrize("content, message", [
    (None, "input 'x' (x.npy) can't be read: No such file or directory"),
    (b"", "is empty"),
    (b"\x93NUM", "is not an .npy file"),
    (b"hello, this is text", "is not an .npy file"),
    (b"PK\x03\x04 and so on", "is an .npz archive"),
    (b"\x93NUMPY\x09\x00" + saved(X)[8:], "has version 9 of the .npy format"),
    (b"\x93NUMPY\x00\x00" + saved(X)[8:], "has version 0"),
    (saved(X)[:9], "ends inside its header"),
    (saved(X)[:60], "ends inside its header"),
    (header(b"{}", b"\x02\x00", 1 << 20), "has a header of 1048576 bytes"),
    (saved(X)[:-5], "is truncated: its header promises 48 bytes of data, it holds 43"),
    (saved(X)[:128], "is truncated: its header promises 48 bytes of data, it holds 0"),
    (saved(X.astype(">f4")), "is big-endian (>f4)"),
    (saved(np.asfortranarray(X)), "is in Fortran order"),
    (saved(X.astype(np.float64)), "must be float32 (batch, 3), but it is float64 (4, 3)"),
    (saved(X.astype(np.complex64)), "must be float32 (batch, 3), but it is complex64 (4, 3)"),
    (saved(np.zeros((4, 3), "S5")), "but it is |S5 (4, 3)"),
    (saved(np.zeros(4, [("a", "<f4")])), "holds records"),
    (saved(np.zeros((4, 3), "M8[s]")), "but it is <M8[s] (4, 3)"),
    (saved(NARROW), "must be float32 (batch, 3), but it is float32 (4, 2)"),
    (saved(X[0]), "must be float32 (batch, 3), but it is float32 (3,)"),
    (saved(X[None]), "but it is float32 (1, 4, 3)"),
    (saved(np.float32(3)), "but it is float32 ()"),
    (saved(arrays(66)[0]), "has batch = 66, which must be from 2 to 64 and a multiple of 2"),
    (saved(arrays(3)[0]), "has batch = 3, which must be"),
    (saved(X[:0]), "has batch = 0, which must be"),
    (header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 3), }"), "can't be understood"),
    (header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3), }"), "can't be understood"),
    (header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"1, " * 40 + b"), }"), "can't be understood"),
    (header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3, }"), "can't be understood"),
    (header(b"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (4, 3), }"), "can't be understood"),
    (header(b"{'descr': '<f4', 'fortran_order': False, }"), "can't be understood"),
    (header(b"{'descr': '<f4" + REST), "can't be understood"),
    (header(b"{'descr': <f4" + REST), "can't be understood"),
    (header(b"{'descr': '" + b"x" * 50 + b"'" + REST), "can't be understood"),
    (header(b"{'descr': '<f4', 'extra': 1" + REST), "can't be understood"),
    (header(b"{'descr': ''" + REST), "can't be understood"),
    (header(b"{'descr': '<f4'" + REST + b" } "), "can't be understood"),
    (header(b"{'descr': '\x1b[31m\n'" + REST), "can't be understood: {'descr': '?[31m '"),
    (header(b"{'descr"), "can't be understood"),
    (header(b"['descr'"), "can't be understood"),
    (header(b""), "can't be understood"),
    (header(b"\0" * 100), "can't be understood"),
])
def test_bad_files(toy, files, content, message):
    (files / "x.npy").unlink()
    if content is not None:
        (files / "x.npy").write_bytes(content)
    before = sorted(files.iterdir())
    code, out, error = run(toy, "x.npy", "y.npy", "z.npy", cwd=files)
    assert code == 2 and out == b"" and error.startswith("toy: input 'x' (x.npy) ") and message in error, error
    assert sorted(files.iterdir()) == before
    if content:  # the same through a pipe
        piped = run(toy, "-", "y.npy", "z.npy", cwd=files, data=content)
        assert (piped[0], piped[2]) == (2, error.replace("x.npy", "-", 1)), piped


def test_extents_that_disagree(toy, files):
    np.save(files / "y.npy", arrays(6)[1])
    code, _, error = run(toy, "x.npy", "y.npy", "z.npy", cwd=files)
    assert code == 2 and error == ("toy: input 'y' (y.npy) must be float32 (batch, 3) with batch = 4 as in 'x', "
                                   "but it is float32 (6, 3)\n")
    np.save(files / "y.npy", arrays()[1])
    np.save(files / "z.npy", np.arange(7))
    code, _, error = run(toy, "x.npy", "y.npy", "z.npy", cwd=files)
    assert code == 2 and error == "toy: input 'z' (z.npy) must be int64 (2*batch,), here (8,), but it is (7,)\n"


def test_headers_that_others_write(copy, tmp_path):
    program = copy("float32", 4)
    x = np.arange(5, dtype=np.float32)
    data = x.tobytes()
    texts = [saved(x, (1, 0)), saved(x, (2, 0)), saved(x, (3, 0)),
             header(b"{'shape':(5,),'fortran_order':False,'descr':'<f4'}") + data,
             header(b'{"descr": "<f4", "fortran_order": False, "shape": (5L,)}  \n') + data,
             header(b" { 'descr' : '<f4' , 'fortran_order' : True , 'shape' : ( 5 , ) , } \n") + data,
             header(b"{'descr': '=f4', 'fortran_order': False, 'shape': (5,), }") + data, saved(x) + b"more behind it"]
    for text in texts:
        code, out, error = run(program, "-", "-o", "-", cwd=tmp_path, data=text)
        assert (code, error) == (0, ""), text
        np.testing.assert_array_equal(np.load(io.BytesIO(out)), x)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "float16", "int32", "uint32", "float32",
                                   "int64", "uint64", "float64", "complex64", "complex128"])
def test_every_dtype_comes_back_as_numpy_writes_it(copy, tmp_path, dtype):
    x = (np.arange(1000) % 2).astype(dtype)
    for array in (x, x[:0], x[:1]):
        code, out, error = run(copy(dtype, x.itemsize), "-", "-o", "-", cwd=tmp_path, data=saved(array))
        assert (code, error, out) == (0, "", saved(array))


def test_bfloat16_is_two_plain_bytes(copy, tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.arange(10).astype(ml_dtypes.bfloat16)
    for text in (saved(x), saved(x).replace(b"'<V2'", b"'|V2'")):
        code, out, error = run(copy("bfloat16", 2), "-", "-o", "-", cwd=tmp_path, data=text)
        assert (code, error) == (0, "")
        np.testing.assert_array_equal(np.load(io.BytesIO(out)).view(ml_dtypes.bfloat16), x)


def test_large_arrays_through_pipes(copy, tmp_path):
    x = np.arange(3_000_001, dtype=np.float32)
    code, out, error = run(copy("float32", 4), "-", "-o", "-", cwd=tmp_path, data=saved(x))
    assert (code, error, out == saved(x)) == (0, "", True)


def test_more_memory_than_there_is(copy, tmp_path):
    for extent in (1 << 60, 1 << 62):
        text = header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }" % extent)
        code, _, error = run(copy("float32", 4), "-", "-o", "-", cwd=tmp_path, data=text)
        assert code == 2 and ("bytes of memory, which the system does not give" in error or "larger than any" in error)


def test_a_failed_run_writes_nothing(toy, files):
    x = arrays()[0]
    x[0, 0] = -1
    np.save(files / "x.npy", x)
    before = sorted(files.iterdir())
    assert run(toy, "x.npy", "y.npy", "z.npy", cwd=files) == (1, b"", "toy: the run failed with status 7\n")
    assert sorted(files.iterdir()) == before


def test_outputs_are_written_whole_or_not_at_all(toy, files):
    (files / "sum.npy").write_bytes(b"old")
    before = sorted(files.iterdir())
    for bad, reason in (("/dev/full", "No space left on device"), ("missing/t.npy", "No such file or directory"),
                        (".", "Is a directory"), ("t" * 5000, "too long"), ("t" * 300, "File name too long")):
        code, _, error = run(toy, "x.npy", "y.npy", "z.npy", "-o", "a/twice=" + bad, cwd=files)
        assert (code, error) == (1, f"toy: output 'a/twice' ({bad}) can't be written: {reason}\n") or \
            (code == 1 and reason in error)
        assert sorted(files.iterdir()) == before and (files / "sum.npy").read_bytes() == b"old"


def test_outputs_replace_files_but_not_links_and_devices(toy, files):
    (files / "folder").mkdir()
    (files / "folder" / "target.npy").write_bytes(b"old")
    (files / "folder" / "target.npy").chmod(0o640)
    (files / "link.npy").symlink_to("folder/target.npy")
    assert run(toy, "x.npy", "y.npy", "z.npy", "-o", "link.npy", "-o", "/dev/null", cwd=files) == (0, b"", "")
    assert (files / "link.npy").is_symlink() and stat.S_IMODE((files / "folder" / "target.npy").stat().st_mode) == 0o640
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    np.testing.assert_array_equal(np.load(files / "folder" / "target.npy"), arrays()[0] + arrays()[1])
    assert [p.name for p in (files / "folder").iterdir()] == ["target.npy"]
    code, out, _ = run(toy, "x.npy", "y.npy", "z.npy", "-o", "/dev/stdout", cwd=files)
    assert code == 0 and out == saved(arrays()[0] + arrays()[1])


def test_two_outputs_with_one_name_leave_one_whole_file(toy, files):
    assert run(toy, "x.npy", "y.npy", "z.npy", "-o", "s", "-o", "s", cwd=files) == (0, b"", "")
    np.testing.assert_array_equal(np.load(files / "s"), 2 * arrays()[2])


def test_an_input_is_not_overwritten_unasked(toy, files):
    shutil.copy(files / "x.npy", files / "sum.npy")
    code, _, error = run(toy, "sum.npy", "y.npy", "z.npy", cwd=files)
    assert code == 2 and "output 'sum' would overwrite the input sum.npy: say where it goes with -o" in error
    assert run(toy, "sum.npy", "y.npy", "z.npy", "-o", "sum.npy", cwd=files) == (0, b"", "")
    check_outputs(files)


def test_no_inputs_and_scalars(tmp_path):
    interface = Interface("zero", (), (Array("y", "float64", ()),))
    model = """
define void @zero_extents(ptr %symbols, ptr %extents) { ret void }
define i32 @zero_run(ptr %symbols, ptr %inputs, ptr %outputs, i32 %cap) {
  %y = load ptr, ptr %outputs
  store double 1.5, ptr %y
  ret i32 0
}
"""
    program = build(tmp_path, interface, model)
    assert run(program, cwd=tmp_path) == (0, b"", "")
    assert np.load(tmp_path / "y.npy").shape == () and np.load(tmp_path / "y.npy") == 1.5
    code, _, error = run(program, "x.npy", cwd=tmp_path)
    assert code == 2 and "there are 0 inputs: 'x.npy' is one too many" in error


def test_what_no_program_can_have():
    x = Array("x", "float32", ("n",))
    with pytest.raises(UnsupportedError, match="my model"):
        Interface("my model", (x,), ())
    with pytest.raises(UnsupportedError, match="int4"):
        Interface("m", (Array("x", "int4", (1,)),), ())
    with pytest.raises(UnsupportedError, match="'m'"):
        Interface("m", (x,), (), (SymbolFacts("n"), SymbolFacts("m")))


@pytest.mark.parametrize("triple", ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"])
def test_compiles_for_every_platform(triple):
    for text in (main_ir(TOY, triple), start_ir(triple)):
        assert emit(text, triple).startswith(b"\x7fELF")


def test_a_write_that_fails_half_way_leaves_the_old_file(copy, tmp_path):
    """With the size of files limited: the old output stays, the temporary file goes."""
    program = copy("float32", 4)
    np.save(tmp_path / "x.npy", np.zeros(100_000, np.float32))
    (tmp_path / "y.npy").write_bytes(b"old")
    script = ("import resource, signal, os, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
              "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)); os.execv(sys.argv[1], sys.argv[1:])")
    command = [sys.executable, "-c", script, program, "x.npy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "output 'y' (y.npy) can't be written: File too large" in done.stderr
    assert (tmp_path / "y.npy").read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "y.npy"]
