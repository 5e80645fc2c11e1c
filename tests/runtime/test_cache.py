"""Does the compile cache keep, verify, evict and survive: concurrent writers, kill -9, damage, read-only and full disks?"""

import os
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.codegen import object as codegen
from lamina.compiler.core.options import Options
from lamina.frontends import cached
from lamina.frontends.cached import compile_cached
from lamina.runtime import cache as module
from lamina.runtime.atomic import TEMPORARY
from lamina.runtime.cache import DiskCache, artifact_key, default_cache, find_origins
from lamina.runtime.digest import digest
from lamina.runtime.errors import LaminaError
from lamina.runtime.executable import Executable
from lamina.runtime.settings import read_settings


def key(n: int) -> str:
    return digest(str(n).encode())


def value(n: int, size: int = 1000) -> bytes:
    return (str(n) * size)[:size].encode()


@pytest.fixture
def store(tmp_path):
    return DiskCache(tmp_path / "cache", 1 << 20)


# ---- keeping ------------------------------------------------------------------------------------------------------------
def test_what_was_put_is_got(store):
    assert store.get(key(1)) is None
    store.put(key(1), value(1))
    store.put(key(2), b"")
    assert store.get(key(1)) == value(1) and store.get(key(2)) == b""
    assert DiskCache(store.folder, store.limit).get(key(1)) == value(1)


def test_entries_are_listed_cleared_and_summed(store):
    for n in range(3):
        store.put(key(n), value(n))
    assert {e.key for e in store.entries()} == {key(0), key(1), key(2)}
    assert {e.kind for e in store.entries()} == {"object"}
    assert store.size() == sum(e.bytes for e in store.entries()) == sum(e.path.stat().st_size for e in store.entries())
    assert store.clear() > 3000
    assert store.entries() == [] and store.size() == 0 and store.get(key(0)) is None


@pytest.mark.parametrize("wrong", ["", "../../../etc/passwd", "ab", "G" * 32, "a" * 32 + "/b"])
def test_a_key_is_hexadecimal(store, wrong):
    with pytest.raises(ValueError, match="no key of the cache"):
        store.put(wrong, b"x")


def test_the_folder_is_for_its_user_alone(store):
    store.put(key(1), b"x")
    assert store.folder.stat().st_mode & 0o077 == 0


# ---- damage -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d[:5], lambda d: b"", lambda d: d[:50] + b"?" + d[51:],
                                    lambda d: b"?" + d[1:], lambda d: d[:20] + b"?" + d[21:], lambda d: d + b"?"])
def test_a_damaged_entry_is_removed_and_missing(store, damage):
    store.put(key(1), value(1))
    (entry,) = store.entries()
    entry.path.write_bytes(damage(entry.path.read_bytes()))
    assert store.get(key(1)) is None and not entry.path.exists()
    store.put(key(1), value(1))
    assert store.get(key(1)) == value(1)


# ---- eviction -----------------------------------------------------------------------------------------------------------
def test_what_was_used_longest_ago_goes_first(tmp_path):
    store = DiskCache(tmp_path, 10_000)
    for n in range(8):
        store.put(key(n), value(n))
        os.utime(store._path("object", key(n)), (n, n))
    assert store.get(key(0)) == value(0)  # used just now
    for n in range(8, 12):
        store.put(key(n), value(n))
    kept = {n for n in range(12) if store.get(key(n)) is not None}
    assert store.size() <= 10_000
    assert 0 in kept and 11 in kept and 1 not in kept and 2 not in kept


def test_an_entry_larger_than_the_cache_is_not_kept(tmp_path):
    store = DiskCache(tmp_path, 10_000)
    store.put(key(1), value(1))
    store.put(key(2), bytes(20_000))
    assert store.get(key(2)) is None and store.get(key(1)) == value(1)


def test_gc_removes_what_killed_writers_left(store):
    store.put(key(1), value(1))
    (entry,) = store.entries()
    old, new = (entry.path.with_name(f".x.{n}{TEMPORARY}") for n in (1, 2))
    for path in (old, new):
        path.write_bytes(b"part")
    os.utime(old, (1, 1))
    assert len(store.entries()) == 1
    assert store.gc() == 4
    assert not old.exists() and new.exists() and store.get(key(1)) == value(1)
    assert store.gc(0) > 0 and store.entries() == []


def test_what_others_wrote_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_RESCAN", 5_000)
    first, second = DiskCache(tmp_path, 20_000), DiskCache(tmp_path, 20_000)
    for n in range(40):
        first.put(key(n), value(n))
        second.put(key(1000 + n), value(n))
    assert first.size() <= 20_000 + 2 * 5_000 + 2_000


# ---- several processes --------------------------------------------------------------------------------------------------
FILL = """
import sys
from lamina.runtime.cache import DiskCache
from lamina.runtime.digest import digest
store = DiskCache(sys.argv[1], int(sys.argv[2]))
print("begin", flush=True)
round = 0
while round < int(sys.argv[3]):
    for n in range(40):
        key, data = digest(str(n).encode()), (str(n) * 20000)[:20000].encode()
        found = store.get(key)
        assert found in (None, data), "a wrong entry"
        if found is None or round % 3 == 0:
            store.put(key, data)
    round += 1
"""


def fill(folder, limit: int, rounds: int) -> subprocess.Popen:
    child = subprocess.Popen([sys.executable, "-W", "error", "-c", FILL, str(folder), str(limit), str(rounds)], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begin\n", child.stderr.read()
    return child


@pytest.mark.parametrize("limit", [1 << 30, 300_000])
def test_two_processes_fill_one_cache(tmp_path, limit):
    children = [fill(tmp_path, limit, 6) for _ in range(2)]
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
    store = DiskCache(tmp_path, limit)
    found = [n for n in range(40) if store.get(key(n)) is not None]
    assert all(store.get(key(n)) == value(n, 20000) for n in found)
    assert len(found) == 40 if limit == 1 << 30 else 5 < len(found) < 40
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(TEMPORARY)]


def test_a_killed_writer_leaves_no_wrong_entry(tmp_path):
    for delay in (0.0, 0.005, 0.02):
        child = fill(tmp_path, 1 << 30, 1_000_000)
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        store = DiskCache(tmp_path, 1 << 30)
        for n in range(40):
            assert store.get(key(n)) in (None, value(n, 20000))
    for n in range(40):
        store.put(key(n), value(n, 20000))
    assert all(store.get(key(n)) == value(n, 20000) for n in range(40))


# ---- file systems that do not take it -------------------------------------------------------------------------------------
def unwritable(tmp_path):
    """A folder that can't be made, whoever runs this: its parent is a file."""
    (tmp_path / "file").write_text("")
    return DiskCache(tmp_path / "file" / "cache", 1 << 20)


def test_a_folder_that_cannot_be_written_warns_once(tmp_path):
    store = unwritable(tmp_path)
    with pytest.warns(RuntimeWarning, match="the compile cache can't be written .*LAMINA_CACHE_DIR"):
        store.put(key(1), b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.put(key(2), b"x")
        assert store.get(key(1)) is None and store.entries() == [] and store.gc() == 0 and store.clear() == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_read(tmp_path):
    store = DiskCache(tmp_path / "cache", 1 << 20)
    store.put(key(1), value(1))
    for folder in [tmp_path / "cache", *(p for p in (tmp_path / "cache").rglob("*") if p.is_dir())]:
        folder.chmod(0o500)
    reader = DiskCache(tmp_path / "cache", 1 << 20)
    assert reader.get(key(1)) == value(1)
    with pytest.warns(RuntimeWarning, match="can't be written"):
        reader.put(key(2), b"x")


def test_a_full_disk_costs_a_warning(store, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")
    store.put(key(1), value(1))
    monkeypatch.setattr(module, "written_whole", full)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        store.put(key(2), value(2))
    assert store.get(key(1)) == value(1) and store.get(key(2)) is None


def test_a_model_compiles_without_a_cache_that_can_be_written(tmp_path):
    with pytest.warns(RuntimeWarning, match="can't be written"):
        artifact = compile_cached(lambda x: lm.exp(x), lm.TensorSpec((4,), "float32"), cache=unwritable(tmp_path))
    np.testing.assert_allclose(Executable(artifact)(np.ones(4, np.float32))[0], np.e, rtol=1e-6)


# ---- the environment ------------------------------------------------------------------------------------------------------
def test_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("LAMINA_CACHE_BYTES", raising=False)
    for switch, is_on in (("on", True), ("off", False), ("0", False), ("1", True)):
        monkeypatch.setenv("LAMINA_CACHE", switch)
        assert read_settings().cache is is_on
        assert (default_cache() is not None) is is_on
    assert default_cache().folder == tmp_path and default_cache().limit == 2 << 30
    for text, size in (("1000", 1000), ("3K", 3072), ("5 M", 5 << 20), ("1GiB", 1 << 30)):
        monkeypatch.setenv("LAMINA_CACHE_BYTES", text)
        assert default_cache().limit == size
    monkeypatch.setenv("LAMINA_CACHE_BYTES", "much")
    with pytest.raises(LaminaError, match="LAMINA_CACHE_BYTES is 'much'"):
        read_settings()
    monkeypatch.setenv("LAMINA_CACHE", "perhaps")
    with pytest.raises(LaminaError, match="LAMINA_CACHE is 'perhaps'"):
        read_settings()


def test_the_folder_is_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("LAMINA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform.startswith("linux"):
        assert read_settings().cache_folder == tmp_path / "lamina"


# ---- whole models -----------------------------------------------------------------------------------------------------------
X = np.random.default_rng(0).random((3, 16), np.float32)
W = np.random.default_rng(1).random((16, 8), np.float32)


@pytest.fixture
def compiled(monkeypatch):
    """The names of the modules that LLVM compiled."""
    count, compile_object = [], codegen.compile_object
    monkeypatch.setattr(codegen, "compile_object", lambda text, target: count.append(text) or compile_object(text, target))
    return count


def layer(w=W):
    return lm.trace(lambda x: lm.tanh(x @ w), lm.TensorSpec(("n", 16), "float32", "x"), dims={"n": (1, 8)})


def test_a_model_is_compiled_once(store, compiled):
    first = compile_cached(layer(), cache=store)
    assert compiled
    compiled.clear()
    graph = first.texts["traced"]
    second = compile_cached(graph, cache=DiskCache(store.folder, store.limit))
    assert not compiled and second.manifest == first.manifest
    np.testing.assert_array_equal(Executable(second)(X)[0], Executable(first)(X)[0])


def test_other_weights_and_options_are_another_model(store, compiled):
    def number():
        return sum(e.kind == "artifact" for e in store.entries())
    graph = layer()
    compile_cached(graph, cache=store)
    compile_cached(graph, cache=store)
    assert number() == 1
    compiled.clear()
    other = compile_cached(layer(W + 1), cache=store)
    assert number() == 2 and not compiled, "the code is the same, the weights are not"
    np.testing.assert_allclose(Executable(other)(X)[0], np.tanh(X @ (W + 1)), rtol=1e-5)
    compile_cached(graph, options=Options(fuse=False), cache=store)
    for _ in range(2):
        compile_cached(graph, options=Options(target="aarch64"), cache=store)
        assert number() == 4
    compiled.clear()
    compile_cached(graph, options=Options(target="aarch64"), cache=store)
    assert not compiled


def test_a_damaged_artifact_is_compiled_again(store):
    graph = layer()
    compile_cached(graph, cache=store)
    (entry,) = [e for e in store.entries() if e.kind == "artifact"]
    data = bytearray(entry.path.read_bytes())
    data[len(data) // 2] ^= 1
    entry.path.write_bytes(data)
    again = compile_cached(graph, cache=store)
    np.testing.assert_allclose(Executable(again)(X)[0], np.tanh(X @ W), rtol=1e-5)
    assert store.get_artifact(entry.key) is not None


def test_the_texts_of_a_cached_model_are_made_on_demand(store, compiled):
    graph = layer()
    first = compile_cached(graph, cache=store)
    second = Executable(compile_cached(graph, cache=store))
    assert second.text("fused") == str(first.texts["fused"])
    assert "define" in second.text("llvm")
    with pytest.raises(ValueError, match="no text of stage 'soup'; there are: traced"):
        second.text("soup")


def test_cache_off_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("LAMINA_CACHE", "off")
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path))
    lm.compile(layer())
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("LAMINA_CACHE", "on")
    lm.compile(layer())
    assert {e.kind for e in DiskCache(tmp_path, 1 << 20).entries()} == {"object", "artifact"}


def test_keys_hold_the_versions(monkeypatch):
    before = artifact_key("a", "b")
    assert before == artifact_key("a", "b") != artifact_key("ab")
    monkeypatch.setattr(module, "VERSION", "99")
    assert artifact_key("a", "b") != before
    monkeypatch.undo()
    monkeypatch.setattr(module, "_source_state", lambda: "changed")
    assert artifact_key("a", "b") != before


# ---- files ------------------------------------------------------------------------------------------------------------------
def gather_model(folder, table: np.ndarray, external: bool, scale: float = 2.0):
    """y = table[i] * scale as ONNX; the table may lie in a file of its own, at a multiple of 64 bytes."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper
    tensor = numpy_helper.from_array(table, "table")
    if external:
        (folder / "weights").mkdir(exist_ok=True)
        (folder / "weights" / "table.bin").write_bytes(bytes(4096) + table.tobytes())
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for name, text in (("location", "weights/table.bin"), ("offset", "4096"), ("length", str(table.nbytes))):
            entry = tensor.external_data.add()
            entry.key, entry.value = name, text
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "i"], ["rows"]), helper.make_node("Mul", ["rows", "scale"], ["y"])], "gather",
        [helper.make_tensor_value_info("i", TensorProto.INT64, [3])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, table.shape[1]])],
        [tensor, numpy_helper.from_array(np.float32(scale), "scale")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


TABLE = np.random.default_rng(3).random((500, 64), np.float32)
INDEX = np.array([7, 0, 499])


@pytest.mark.parametrize("external", [False, True])
def test_a_file_is_imported_once(store, tmp_path, monkeypatch, external):
    path = gather_model(tmp_path, TABLE, external)
    cold = Executable(compile_cached(path, cache=store))
    imports, import_file = [], cached._import_file
    monkeypatch.setattr(cached, "_import_file", lambda *a: imports.append(a) or import_file(*a))
    warm = Executable(compile_cached(str(path), cache=store))
    assert not imports
    np.testing.assert_array_equal(warm(INDEX)[0], TABLE[INDEX] * 2)
    np.testing.assert_array_equal(cold(INDEX)[0], TABLE[INDEX] * 2)
    assert "gather" in warm.text("traced") and imports
    compile_cached(path, dims={}, options=Options(fuse=False), cache=store)
    assert len(imports) == 2


@pytest.mark.parametrize("external", [False, True])
def test_a_changed_file_is_another_model(store, tmp_path, external):
    Executable(compile_cached(gather_model(tmp_path, TABLE, external), cache=store))
    other = TABLE + 1
    model = Executable(compile_cached(gather_model(tmp_path, other, external), cache=store))
    np.testing.assert_array_equal(model(INDEX)[0], other[INDEX] * 2)
    model = Executable(compile_cached(gather_model(tmp_path, other, external, scale=3.0), cache=store))
    np.testing.assert_array_equal(model(INDEX)[0], other[INDEX] * 3)


def test_weights_that_a_kernel_reads_as_they_are_stay_in_their_file(store, tmp_path):
    path = gather_model(tmp_path, TABLE, True)
    compile_cached(path, cache=store)
    assert store.size() < TABLE.nbytes
    warm = compile_cached(path, cache=store)
    (table,) = [c for c in warm.constants if c.nbytes == TABLE.nbytes]
    assert find_origins([table], [tmp_path / "weights" / "table.bin"]) == {0: (0, 4096)}


def test_a_lost_weight_file_is_explained(store, tmp_path):
    path = gather_model(tmp_path, TABLE, True)
    compile_cached(path, cache=store)
    (tmp_path / "weights" / "table.bin").unlink()
    with pytest.raises(LaminaError, match="table.bin"):
        compile_cached(path, cache=store)
    with pytest.raises(LaminaError, match=re.escape("none.onnx")):
        compile_cached(tmp_path / "none.onnx", cache=store)


def test_origins_are_aligned_views_of_the_sources(tmp_path):
    np.arange(1000, dtype=np.float32).tofile(tmp_path / "a.bin")
    mapped = np.memmap(tmp_path / "a.bin", np.uint8, "r")
    late = np.memmap(tmp_path / "a.bin", np.uint8, "r", offset=128)
    views = [mapped[64:128].view(np.float32), np.asarray(mapped)[256:512].view(np.float32).reshape(8, 8), late[64:128].view(np.int32)]
    others = [mapped[4:68].view(np.float32), mapped[64:128].view(np.float32).copy(), mapped[:64].view(np.float32)[::2], np.ones(3)]
    assert find_origins([*views, *others], [tmp_path / "b.bin", tmp_path / "a.bin"]) == {0: (1, 64), 1: (1, 256), 2: (1, 192)}
    assert find_origins(views, []) == {}
