"""Does an artifact survive its file, is every damage noticed and named, and does it run where the compiler is not?"""

import io
import json
import mmap
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import llvmlite
import numpy as np
import pytest

import lamina as lm
from lamina.compiler.driver import compile_graph
from lamina.runtime import cpu_features, package
from lamina.runtime.digest import CHUNK, chunk_digests, digest, file_digest
from lamina.runtime.errors import FormatError, LaminaError, UnsupportedError
from lamina.runtime.executable import Executable
from lamina.runtime.package import load_artifact, save_artifact
from lamina.runtime.tensors import read_tensors, write_tensors

RUNTIME = Path(package.__file__).parent
X = np.random.default_rng(1).random((5, 8), np.float32)
W = np.random.default_rng(2).random((8, 24), np.float32)
MEMBERS = {"manifest.json", "constants.safetensors", "objects/host.o", "objects/support.o"}


def expected(x):
    return np.tanh(x @ W)


@pytest.fixture(scope="module")
def artifact():
    graph = lm.trace(lambda x: lm.tanh(x @ W), lm.TensorSpec(("batch", 8), "float32", "x"), dims={"batch": (1, 64)})
    return compile_graph(graph)


@pytest.fixture
def file(artifact, tmp_path):
    save_artifact(artifact, tmp_path / "m.lam")
    return tmp_path / "m.lam"


def offsets(path: Path) -> dict[str, tuple[int, int]]:
    """Where the data of each member begin and end."""
    found = {}
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            names, extra = (int.from_bytes(data[info.header_offset + at:info.header_offset + at + 2], "little") for at in (26, 28))
            begin = info.header_offset + 30 + names + extra
            found[info.filename] = (begin, begin + info.file_size)
    return found


def test_a_loaded_artifact_gives_the_same_numbers(artifact, file):
    np.testing.assert_array_equal(Executable(load_artifact(file))(X)[0], Executable(artifact)(X)[0])
    np.testing.assert_allclose(Executable(load_artifact(file))(X)[0], expected(X), rtol=2e-6)


def test_nothing_of_the_artifact_is_lost(artifact, file):
    loaded = load_artifact(file)
    assert loaded.manifest == artifact.manifest and loaded.objects == artifact.objects
    assert [c.dtype for c in loaded.constants] == [c.dtype for c in artifact.constants]
    for a, b in zip(loaded.constants, artifact.constants):
        np.testing.assert_array_equal(a, b)


def test_the_file_is_a_plain_zip_with_aligned_stored_members(file):
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert MEMBERS < set(archive.namelist())
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.read("manifest.json"))["inputs"][0]["name"] == "x"
    assert all(begin % 64 == 0 for begin, _ in offsets(file).values())


def test_constants_are_mapped_and_read_only(file):
    (constant,) = load_artifact(file).constants
    base = constant
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap) or isinstance(base, mmap.mmap)
    assert constant.ctypes.data % 64 == 0 and not constant.flags.writeable


def test_equal_artifacts_give_equal_files(artifact, file, tmp_path):
    save_artifact(artifact, tmp_path / "other.lam")
    assert (tmp_path / "other.lam").read_bytes() == file.read_bytes()


def test_the_safetensors_library_reads_the_constants(artifact, file):
    safetensors = pytest.importorskip("safetensors.numpy")
    begin, end = offsets(file)["constants.safetensors"]
    tensors = safetensors.load(file.read_bytes()[begin:end])
    np.testing.assert_array_equal(tensors["0"], artifact.constants[0])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "bfloat16",
                                   "float32", "float64"])
def test_every_dtype_and_shape_goes_through_safetensors(dtype):
    from lamina.runtime.signature import numpy_dtype
    rng = np.random.default_rng(0)
    arrays = {str(i): rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(numpy_dtype(dtype))
              for i, shape in enumerate([(), (3,), (0,), (2, 0, 4), (5, 7), (64,)])}
    arrays["turned"] = arrays["4"].T
    out = io.BytesIO()
    write_tensors(out, arrays)
    found = read_tensors(out.getvalue(), "test")
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_big_endian_arrays_are_written_little_endian():
    out = io.BytesIO()
    write_tensors(out, {"x": np.arange(5, dtype=">i4")})
    np.testing.assert_array_equal(read_tensors(out.getvalue(), "test")["x"], np.arange(5))


# ---- damage -------------------------------------------------------------------------------------------------------------
def test_a_changed_byte_is_noticed_and_its_member_named(file):
    whole = file.read_bytes()
    for name, (begin, end) in offsets(file).items():
        for at in (begin, (begin + end) // 2, end - 1):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
            with pytest.raises(FormatError, match=f"m.lam.*{name}.* is damaged"):
                load_artifact(file)


def test_every_truncation_is_noticed(file):
    whole, ends = file.read_bytes(), offsets(file)
    for size in [0, 1, 3, 4, 30, 63, *range(64, len(whole), 997), len(whole) - 1]:
        file.write_bytes(whole[:size])
        with pytest.raises(FormatError, match="m.lam") as error:
            load_artifact(file)
        inside = [name for name, (begin, end) in ends.items() if begin < size < end]
        assert not inside or f"cut short in the member {inside[0]}" in str(error.value)


def test_constants_need_not_be_verified(artifact, file):
    begin, end = offsets(file)["constants.safetensors"]
    data = bytearray(file.read_bytes())
    data[end - 1] ^= 1
    file.write_bytes(data)
    assert not np.array_equal(load_artifact(file, verify=False).constants[0], artifact.constants[0])


def rewritten(file: Path, change) -> Path:
    """The artifact as another ZIP: change(name, data) gives the new data, or None to leave a member out."""
    with zipfile.ZipFile(file) as archive:
        members = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            if data is not None:
                archive.writestr(name, data)
    return file


def manifest_with(**changes):
    return lambda name, data: json.dumps(json.loads(data) | changes).encode() if name == "manifest.json" else data


@pytest.mark.parametrize("change, message", [
    (manifest_with(format=99), "format 99, this lamina reads 1"),
    (manifest_with(members={"objects/gone.o": {"bytes": 1, "sha256": ""}}), "objects/gone.o is missing"),
    (lambda name, data: None if name == "manifest.json" else data, "no lamina artifact"),
    (lambda name, data: b"{" if name == "manifest.json" else data, "manifest.json is damaged"),
    (lambda name, data: b'{"format": 1}' if name == "manifest.json" else data, "manifest.json is damaged: name, entry"),
    (lambda name, data: data + b"x" if name == "objects/host.o" else data, "objects/host.o has .* bytes, .* were written"),
    (manifest_with(constants=[{"shape": [8, 25], "dtype": "float32"}]), r"has no constant 0 of type float32\[8, 25\]"),
])
def test_a_wrong_content_is_explained(file, change, message):
    with pytest.raises(FormatError, match=message):
        load_artifact(rewritten(file, change))


def test_a_zip_of_another_program_may_be_unaligned(file):
    np.testing.assert_allclose(Executable(load_artifact(rewritten(file, lambda name, data: data)))(X)[0], expected(X), rtol=2e-6)


def test_a_compressed_member_is_refused(file, tmp_path):
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(tmp_path / "z.lam", "w", zipfile.ZIP_DEFLATED) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    with pytest.raises(FormatError, match="compressed"):
        load_artifact(tmp_path / "z.lam")


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"PK\3\4", b"hello"])
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "m.lam").write_bytes(data)
    with pytest.raises(FormatError, match="m.lam"):
        load_artifact(tmp_path / "m.lam")


def test_no_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.lam"):
        with pytest.raises(LaminaError, match="can't read"):
            load_artifact(path)


@pytest.mark.parametrize("header", [b"", b"\0" * 7, (1 << 60).to_bytes(8, "little") + b"{}", b"\2" + b"\0" * 7 + b"[]",
                                    b"\3" + b"\0" * 7 + b"{x}"])
def test_damaged_safetensors_are_refused(header):
    with pytest.raises(FormatError, match="the file"):
        read_tensors(header, "the file")


@pytest.mark.parametrize("row", [{"dtype": "F32", "shape": [2], "data_offsets": [0, 9]}, {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
                                 {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}, {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]},
                                 {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}, {"dtype": "F32", "shape": [1]}])
def test_wrong_rows_of_safetensors_are_refused(row):
    text = json.dumps({"x": row}).encode()
    with pytest.raises(FormatError, match="the file"):
        read_tensors(len(text).to_bytes(8, "little") + text + bytes(8), "the file")


# ---- machines -----------------------------------------------------------------------------------------------------------
def test_a_missing_cpu_feature_is_named(file, artifact, monkeypatch):
    required = artifact.manifest["target"]["required"]
    assert required
    monkeypatch.setattr(cpu_features, "host_features", lambda: frozenset(required[1:]))
    with pytest.raises(UnsupportedError, match=f"m.lam was built for {artifact.manifest['target']['name']}; this CPU lacks {required[0]}"):
        load_artifact(file)
    assert load_artifact(file, runnable=False).manifest == artifact.manifest


def test_another_architecture_is_named(file, monkeypatch):
    monkeypatch.setattr(cpu_features, "host_architecture", lambda: "riscv64")
    with pytest.raises(UnsupportedError, match="m.lam was built for .*this machine is riscv64"):
        load_artifact(file)


def test_an_executable_is_not_made_for_another_machine(monkeypatch, artifact):
    monkeypatch.setattr(cpu_features, "host_architecture", lambda: "riscv64")
    with pytest.raises(UnsupportedError, match="this machine is riscv64"):
        Executable(artifact)


def test_this_machine_has_what_its_target_requires(artifact):
    assert not cpu_features.missing_features(artifact.manifest["target"])


# ---- writing ------------------------------------------------------------------------------------------------------------
def test_a_save_that_fails_leaves_the_old_file(artifact, file, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")
    before = file.read_bytes()
    monkeypatch.setattr(package, "write_tensors", full)
    with pytest.raises(LaminaError, match="can't write .*m.lam: No space left"):
        save_artifact(artifact, file)
    assert file.read_bytes() == before and os.listdir(file.parent) == ["m.lam"]


def test_saving_into_no_folder_says_so(artifact, tmp_path):
    with pytest.raises(LaminaError, match="can't write"):
        save_artifact(artifact, tmp_path / "none" / "m.lam")


def test_digests_of_chunks_are_those_of_the_parts(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, 2 * CHUNK + 17).astype(np.uint8)
    assert chunk_digests(data) == [digest(data[:CHUNK]), digest(data[CHUNK:2 * CHUNK]), digest(data[2 * CHUNK:])]
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(data[:-1])
    assert file_digest(tmp_path / "a") != file_digest(tmp_path / "b")


def test_large_constants_are_hashed_as_they_are_written(artifact, tmp_path):
    from dataclasses import replace
    rng = np.random.default_rng(0)
    arrays = [rng.random(n).astype(np.float32) for n in (CHUNK // 4 - 5, 3, CHUNK // 2 + 9)]
    manifest = artifact.manifest | {"constants": [{"shape": [a.size], "dtype": "float32"} for a in arrays]}
    save_artifact(replace(artifact, manifest=manifest, constants=arrays), tmp_path / "m.lam")
    for a, b in zip(load_artifact(tmp_path / "m.lam").constants, arrays):
        np.testing.assert_array_equal(a, b)


# ---- without the compiler -------------------------------------------------------------------------------------------------
ALONE = """
import platform
import sys
import numpy as np
from lamina.runtime.executable import Executable
from lamina.runtime.package import load_artifact
model = Executable(load_artifact("m.lam"))
np.save("y.npy", model.run({"x": np.load("x.npy")})["out0"])
for call, name in ((lambda: load_artifact("x.npy"), "FormatError"), (lambda: model(np.zeros((65, 8), np.float32)), "ShapeError")):
    try:
        call()
    except Exception as error:
        assert type(error).__name__ == name, repr(error)
    else:
        raise AssertionError(name)
assert not [m for m in sys.modules if m.startswith(("lamina.compiler", "lamina.frontends"))]
assert platform.machine() != "x86_64" or "llvmlite" not in sys.modules
"""


def test_it_runs_where_compiler_and_frontends_are_deleted(file, tmp_path):
    shutil.copytree(RUNTIME, tmp_path / "lib" / "lamina" / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "lib" / "lamina" / "__init__.py").write_text("")
    np.save(tmp_path / "x.npy", X)
    paths = [tmp_path / "lib", Path(np.__file__).parents[1], Path(llvmlite.__file__).parents[1]]
    done = subprocess.run([sys.executable, "-S", "-c", ALONE], cwd=tmp_path, capture_output=True, text=True,  # -S: no installed lamina
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))})
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected(X), rtol=2e-6)
