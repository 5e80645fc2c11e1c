"""Do sources and files give their rows, without reading the rest, and say what is wrong with a file?"""

import gzip
import struct

import numpy as np
import pytest

import lamina as lm

data = lm.data


def test_rows_of_trees_of_arrays():
    source = data.arrays({"x": np.arange(12).reshape(6, 2), "y": np.arange(10, 16)})
    assert len(source) == 6
    assert source[2]["x"].tolist() == [4, 5] and source[2]["y"] == 12 and source[-1]["y"] == 15
    assert source[1:3]["y"].tolist() == [11, 12] and source[[5, 0]]["y"].tolist() == [15, 10]
    assert source[[]]["x"].shape == (0, 2)
    assert source.take([4, 2, 2]).take([2, 0])[:]["y"].tolist() == [12, 14]
    assert source.map(lambda rows: rows["y"] * 2)[3] == 26
    rows = source[0:6]["x"]
    rows[0] = 99  # what is given out is the caller's own
    assert source[0]["x"].tolist() == [0, 1]
    with pytest.raises(lm.ShapeError, match=r"rows\['a'\] has 3, rows\['b'\] has 2"):
        data.arrays({"a": np.zeros(3), "b": np.zeros(2)})
    with pytest.raises(lm.ShapeError, match="has no axis"):
        data.arrays(np.zeros(()))
    with pytest.raises(IndexError):
        source[6]


def test_concatenated_sources():
    source = data.concatenate([np.arange(3), data.arrays(np.arange(3, 4)), np.arange(4, 9)])
    assert len(source) == 9 and source[:].tolist() == list(range(9))
    assert source[[8, 0, 3, 3, 2]].tolist() == [8, 0, 3, 3, 2] and source[[]].shape == (0,)


def test_windows_of_a_sequence():
    source = data.windows(np.arange(10), 4, 3)
    assert source[:].tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert data.windows(np.zeros((10, 2)), 3)[:].shape == (8, 3, 2)
    assert len(data.windows(np.arange(3), 4)) == 0 and data.windows(np.arange(3), 4)[:].shape == (0, 4)
    with pytest.raises(lm.ShapeError):
        data.windows(np.arange(3), 0)


def test_splits_hold_every_row_once():
    for parts, sizes in (([0.5, 0.3, 0.2], [6, 3, 2]), ([3, 4], [3, 4]), ([0.1, 0.1], [1, 1]), ([1.0], [11])):
        found = data.split(np.arange(11), parts)
        assert [len(p) for p in found] == sizes
        assert np.concatenate([p[:] for p in found]).tolist() == list(range(sum(sizes)))
    first, second = data.split(np.arange(11), [0.5, 0.5], seed=3)
    assert sorted([*first[:], *second[:]]) == list(range(11)) and first[:].tolist() != list(range(len(first)))
    assert data.split(np.arange(11), [0.5, 0.5], seed=3)[0][:].tolist() == first[:].tolist()
    for rest, part in data.folds(np.arange(10), 3, seed=0):
        assert sorted([*rest[:], *part[:]]) == list(range(10)) and len(part) in (3, 4)
    for wrong in ([6, 6], [0.7, 0.7], [-1, 3], []):
        with pytest.raises(lm.ShapeError, match="can't be split"):
            data.split(np.arange(11), wrong)


# ---- files -----------------------------------------------------------------------------------------------------------
def is_mapped(x):
    while x is not None:
        if isinstance(x, np.memmap):
            return True
        x = x.base
    return False


def test_numpy_files(tmp_path):
    x = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x, fortran=np.asfortranarray(x), empty=np.zeros((0, 3)), y=np.arange(5))
    np.savez_compressed(tmp_path / "c.npz", x=x)
    assert is_mapped(data.npy(tmp_path / "x.npy"))
    np.testing.assert_array_equal(data.npy(tmp_path / "x.npy"), x)
    found = data.npz(tmp_path / "x.npz")
    assert list(found) == ["x", "fortran", "empty", "y"] and is_mapped(found["x"]) and is_mapped(found["y"])
    for name in ("x", "fortran"):
        np.testing.assert_array_equal(found[name], x)
    assert found["empty"].shape == (0, 3)
    np.testing.assert_array_equal(data.npz(tmp_path / "c.npz")["x"], x)
    assert data.arrays({"x": found["x"], "y": found["y"]})[[4, 1]]["y"].tolist() == [4, 1]


def test_idx_files(tmp_path):
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    content = struct.pack(">HBB3i", 0, 0x08, 3, 2, 3, 4) + images.tobytes()
    (tmp_path / "images").write_bytes(content)
    (tmp_path / "images.gz").write_bytes(gzip.compress(content))
    assert is_mapped(data.idx(tmp_path / "images"))
    for name in ("images", "images.gz"):
        np.testing.assert_array_equal(data.idx(tmp_path / name), images)
    wide = np.array([1, -2, 70000], ">i4")
    (tmp_path / "wide").write_bytes(struct.pack(">HBBi", 0, 0x0C, 1, 3) + wide.tobytes())
    rows = data.arrays(data.idx(tmp_path / "wide"))[:]
    assert rows.tolist() == [1, -2, 70000] and rows.dtype == np.int32 and rows.dtype.isnative
    (tmp_path / "short").write_bytes(content[:-1])
    with pytest.raises(lm.FormatError, match="holds 23 bytes of elements.*has 24"):
        data.idx(tmp_path / "short")
    for wrong in (b"", b"\0\0", b"\1\0\x08\1", content[:9]):
        (tmp_path / "wrong").write_bytes(wrong)
        with pytest.raises(lm.FormatError, match="is no IDX file"):
            data.idx(tmp_path / "wrong")
    (tmp_path / "wrong.gz").write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(lm.FormatError, match="can't be decompressed"):
        data.idx(tmp_path / "wrong.gz")


def test_cifar_files(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    for classes, labels in ((10, [[1], [2], [3]]), (100, [[1, 50], [2, 60], [3, 70]])):
        rows = np.concatenate([np.array(labels, np.uint8), images.reshape(3, -1)], axis=1)
        (tmp_path / "batch").write_bytes(rows.tobytes())
        found = data.cifar(tmp_path / "batch", classes)
        np.testing.assert_array_equal(found["image"], images)
        assert found["label"].tolist() == [row[-1] for row in labels] and is_mapped(found["image"])
    assert found["coarse"].tolist() == [1, 2, 3]
    both = data.concatenate([found, found])
    assert both[5]["label"] == 70
    with pytest.raises(lm.FormatError, match="no multiple of the 3073"):
        data.cifar(tmp_path / "batch", 10)
    with pytest.raises(lm.LaminaError, match="no CIFAR of 20"):
        data.cifar(tmp_path / "batch", 20)


def test_csv_files(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes("\ufeffheight,width,\"price, net\"\r\n1,2,3\r\n\r\n4.5,,\" 6\"\n-1e3,8,9".encode())
    source = data.csv(path)
    assert len(source) == 3
    np.testing.assert_array_equal(source[:], [[1, 2, 3], [4.5, np.nan, 6], [-1000, 8, 9]])
    assert source[:].dtype == np.float32 and source[1].tolist()[::2] == [4.5, 6]
    named = data.csv(path, {"x": ["price, net", "height"], "y": "width"}, dtype="float64")[[2, 0]]
    assert named["x"].tolist() == [[9, -1000], [3, 1]] and named["y"].tolist() == [8, 2]
    assert data.csv(path, [2])[:].shape == (3, 1)
    (tmp_path / "plain.csv").write_text("1;2\n3;4\n")
    assert data.csv(tmp_path / "plain.csv", delimiter=";", header=False)[:].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(lm.LaminaError, match="has no column 'depth'\n  hint: it has 'height', 'width', 'price, net'"):
        data.csv(path, ["depth"])
    for content, message in (("a,b\n1,2\n3\n", "row 3: it has 1 fields"), ("a,b\n1,x\n", "row 2: field 2 is 'x'"),
                             ('a,b\n1,"2\n', "row 2: a quotation is not closed")):
        path.write_text(content)
        with pytest.raises(lm.FormatError, match=message):
            data.csv(path)[:]
    path.write_text("")
    with pytest.raises(lm.FormatError, match="no line of names"):
        data.csv(path)


def test_many_lines_are_found_in_pieces(tmp_path, monkeypatch):
    from lamina.frontends.data import lines
    monkeypatch.setattr(lines, "CHUNK", 7)
    (tmp_path / "long.csv").write_text("n\n" + "".join(f"{i}\n" for i in range(1000)))
    assert data.csv(tmp_path / "long.csv")[[0, 999, 500]].ravel().tolist() == [0, 999, 500]


def test_text_files(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"abcdefghij")
    source = data.text(tmp_path / "t.txt", 4)
    assert [bytes(row.astype(np.uint8)) for row in source[:]] == [b"abcd", b"defg", b"ghij"]
    assert source[:].dtype == np.int32 and len(data.text(tmp_path / "t.txt", 4, stride=1)) == 7
    (tmp_path / "t.txt").write_bytes(b"")
    assert len(data.text(tmp_path / "t.txt", 4)) == 0


def test_files_that_are_no_arrays_are_told(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    (tmp_path / "short.npy").write_bytes((tmp_path / "objects.npy").read_bytes()[:20])
    for name in ("objects.npy", "short.npy"):
        with pytest.raises(lm.FormatError, match="no .npy file"):
            data.npy(tmp_path / name)
    for name in ("objects.npz", "short.npy"):
        with pytest.raises(lm.FormatError, match="no .npz file"):
            data.npz(tmp_path / name)
    for read in (data.npy, data.npz, data.idx, data.cifar, data.csv, lambda p: data.text(p, 3)):
        with pytest.raises(lm.LaminaError, match="there is no file"):
            read(tmp_path / "nothing")
