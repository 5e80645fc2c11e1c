"""Is a file read right, and nothing in it trusted?  Formats, truncation, corruption, external data, mapped weights."""

import os

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, external_data_helper, helper  # noqa: E402

from lamina.compiler.core.errors import FormatError, LaminaError, UnsupportedError  # noqa: E402
from lamina.compiler.ops import Constant  # noqa: E402
from lamina.frontends.onnx import load  # noqa: E402
from lamina.frontends.onnx.wire import Malformed, split_weights  # noqa: E402

from .models import floats, model, node  # noqa: E402


def weights(*shape):
    return model([node("MatMul", "x,w", "h"), node("Add", "h,b", "y")], {"x": [2, shape[0]]}, ["y"],
                 {"w": floats(*shape), "b": floats(shape[1])})


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(weights(64, 48).SerializeToString())
    return file


def result(source):
    return load(source).evaluate(floats(2, 64, seed=9))[0]


# ---- what is read ----------------------------------------------------------------------------------------------------
def test_path_bytes_and_proto_are_the_same(path):
    proto = weights(64, 48)
    for source in (path, str(path), path.read_bytes(), memoryview(path.read_bytes()), proto):
        np.testing.assert_array_equal(result(source), result(proto))


def test_large_weights_stay_in_the_file(path):
    data = np.memmap(path, mode="r", dtype=np.uint8)
    text, found = split_weights(data)
    assert list(found) == [0] and found[0].base is not None and found[0].nbytes == 64 * 48 * 4
    assert len(text) < data.size - found[0].nbytes + 32
    proto = onnx.ModelProto.FromString(text)
    assert not proto.graph.initializer[0].HasField("raw_data") and proto.graph.initializer[1].HasField("raw_data")
    proto.graph.initializer[0].raw_data = found[0].tobytes()
    assert proto == onnx.ModelProto.FromString(path.read_bytes())


def test_aligned_weights_are_not_copied(tmp_path):
    file = tmp_path / "model.onnx"
    for size in range(4):  # one of four lengths of a name puts the weights at a multiple of four
        proto = weights(64, 48)
        proto.doc_string = "x" * size
        proto.graph.name = "n" * size
        file.write_bytes(proto.SerializeToString())
        arrays = [n.op.array for n in load(file).nodes if isinstance(n.op, Constant) and n.op.label == "w"]
        bases = set()
        while arrays[0] is not None:
            bases.add(type(arrays[0]))
            arrays[0] = getattr(arrays[0], "base", None)
        if np.memmap in bases:
            return
    pytest.fail("every load copied")


@pytest.mark.parametrize("size", range(4))
def test_large_weights_are_used_at_any_address(tmp_path, size):
    """As an operand of a product they are packed; what is looked up stays in the file, misaligned or not."""
    import lamina as lm
    proto = model([node("MatMul", "x,w", "h"), node("Gather", "w,i", "r"), node("Add", "h,r", "y")],
                  {"x": [2, 130], "i": (TensorProto.INT64, [2])}, ["y"], {"w": floats(130, 131)})
    proto.graph.name = "n" * (size + 1)
    file = tmp_path / "model.onnx"
    file.write_bytes(proto.SerializeToString())
    (array,) = [n.op.array for n in load(file).nodes if isinstance(n.op, Constant) and n.op.label == "w"]
    base = array
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    x, i = floats(2, 130, seed=3), np.array([129, -7])
    np.testing.assert_allclose(lm.compile(str(file))(x, i)[0], x @ floats(130, 131) + floats(130, 131)[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT16", "UINT16", "INT32",
                                  "UINT32", "INT64", "UINT64", "BOOL"])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_element_types(kind, raw):
    code = TensorProto.DataType.Value(kind)
    dtype = helper.tensor_dtype_to_np_dtype(code)
    values = np.array([[0, 1, 2], [3, 1, 0]]).astype(dtype)
    tensor = helper.make_tensor("w", code, (2, 3), values.tobytes() if raw else values.reshape(-1), raw=raw)
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [],
                              [helper.make_tensor_value_info("y", code, [2, 3])],
                              [tensor])
    got = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])).evaluate()[0]
    assert got.dtype == dtype and np.array_equal(got, values)


def test_four_bit_weights_are_dequantized():
    tensor = helper.make_tensor("w", TensorProto.INT4, (3,), [-8, 0, 7])
    graph = helper.make_graph([node("DequantizeLinear", "w,s", "d"), node("Mul", "x,d", "y")], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
                              [tensor, helper.make_tensor("s", TensorProto.FLOAT, (), [0.5])])
    graph = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))
    got = graph.evaluate(np.ones(3, np.float32))[0]
    assert got.tolist() == [-4, 0, 3.5]


# ---- what is not a model ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("data,words", [(b"", "empty"), (b"PK\x03\x04....", "ZIP"), (b"\x89HDF\r\n", "HDF5"),
                                        (b"\x80\x04\x95", "pickle"), (b"version https://git-lfs.", "Git LFS pointer"),
                                        (b"<!DOCTYPE html>", "HTML"), (b"this is no model at all", "not an ONNX model"),
                                        (b"\x08\x0a", "no graph"), (bytes(100), "not an ONNX model")])
def test_other_files(tmp_path, data, words):
    file = tmp_path / "m.onnx"
    file.write_bytes(data)
    with pytest.raises(FormatError, match=words) as caught:
        load(file)
    assert str(file) in str(caught.value)
    with pytest.raises(FormatError, match=words):
        load(data)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FormatError, match="not there"):
        load(tmp_path / "none.onnx")
    with pytest.raises(FormatError, match="a folder"):
        load(tmp_path)


def test_truncated_files(path):
    data = path.read_bytes()
    for length in [*range(1, 200, 7), *range(200, len(data), 977), len(data) - 1]:
        with pytest.raises(FormatError):
            load(data[:length])


def test_corrupt_bytes_never_give_another_error(path):
    """Whatever the bytes are, the error is one of lamina's."""
    data, rng = np.frombuffer(path.read_bytes(), np.uint8), np.random.default_rng(0)
    header = np.flatnonzero(data.size - np.arange(data.size) < 400).tolist() + list(range(200))
    for _ in range(400):
        bad = data.copy()
        at = rng.choice(header, rng.integers(1, 4))
        bad[at] = rng.integers(0, 256, at.size)
        try:
            load(bad.tobytes())
        except LaminaError:
            pass


def test_the_walk_gives_up_on_what_it_does_not_know():
    for data in (b"\x3b\x00", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x3a\x7f", b"",
                 b"\x3a\x00\x3a\x00"):
        with pytest.raises(Malformed):
            split_weights(np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("dims,raw,words", [([3], b"\0" * 8, "8 bytes.*takes 12"), ([-1], b"", "shape"),
                                            ([1 << 40, 1 << 20], b"\0" * 4, "takes")])
def test_tensors_whose_bytes_do_not_fit(dims, raw, words):
    proto = model([node("Identity", "w", "y")], {}, ["y"])
    proto.graph.initializer.append(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=raw))
    with pytest.raises(FormatError, match=words):
        load(proto)


def test_typed_values_that_do_not_fit():
    proto = model([node("Identity", "w", "y")], {}, ["y"])
    proto.graph.initializer.append(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], float_data=[1, 2]))
    with pytest.raises(FormatError, match="2 values.*takes 3"):
        load(proto)


def test_names_that_nothing_defines():
    with pytest.raises(FormatError, match="'sum' read 'nowhere'"):
        load(model([node("Add", "x,nowhere", "y", name="sum")], {"x": [2]}, ["y"]))
    with pytest.raises(FormatError, match="outputs read 'z'"):
        load(model([node("Relu", "x", "y")], {"x": [2]}, ["z"]))


# ---- external data ---------------------------------------------------------------------------------------------------
def external(tmp_path, location, offset=0, length=None, content=None):
    """A model whose weights "w" [8] lie at `location`."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    proto = model([node("Add", "x,w", "y")], {"x": [8]}, ["y"])
    proto.graph.initializer.append(tensor)
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "weights.bin").write_bytes(floats(16).tobytes() if content is None else content)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


@pytest.mark.parametrize("offset", [0, 32])
def test_external_data_is_mapped(tmp_path, offset):
    graph = load(external(tmp_path, "weights.bin", offset))
    np.testing.assert_array_equal(graph.evaluate(np.zeros(8, np.float32))[0], floats(16)[offset // 4:offset // 4 + 8])


def test_external_data_as_onnx_writes_it(tmp_path):
    proto = weights(64, 48)
    external_data_helper.convert_model_to_external_data(proto, location="all.data", size_threshold=0)
    onnx.save(proto, tmp_path / "m.onnx")
    np.testing.assert_array_equal(result(tmp_path / "m.onnx"), result(weights(64, 48)))


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret.bin", "a/../../secret.bin", "", "C:\\x.bin",
                                      "\\\\host\\x", "..\\secret.bin"])
def test_external_data_outside_the_folder(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(floats(16).tobytes())
    with pytest.raises(FormatError, match="outside the model's folder"):
        load(external(tmp_path, location))


def test_links_that_lead_out(tmp_path):
    (tmp_path / "secret.bin").write_bytes(floats(16).tobytes())
    file = external(tmp_path, "link.bin")
    os.symlink(tmp_path / "secret.bin", file.parent / "link.bin")
    with pytest.raises(FormatError, match="outside the model's folder"):
        load(file)
    os.remove(file.parent / "link.bin")
    os.symlink(file.parent / "weights.bin", file.parent / "link.bin")
    load(file)


@pytest.mark.parametrize("offset,length,words", [(36, None, "ends at byte 68"), (0, 64, "claims 64"),
                                                 (-4, None, "claims"), ("x", None, "no number"),
                                                 (1 << 62, None, "ends at byte")])
def test_external_data_that_does_not_fit(tmp_path, offset, length, words):
    with pytest.raises(FormatError, match=words):
        load(external(tmp_path, "weights.bin", offset, length))


def test_external_data_that_is_missing_or_has_no_folder(tmp_path):
    with pytest.raises(FormatError, match="not there"):
        load(external(tmp_path, "other.bin"))
    with pytest.raises(FormatError, match="no folder"):
        load(external(tmp_path, "weights.bin").read_bytes())


def test_strings_are_refused():
    proto = model([node("Identity", "w", "y")], {}, ["y"])
    proto.graph.initializer.append(TensorProto(name="w", data_type=TensorProto.STRING, dims=[1], string_data=[b"x"]))
    with pytest.raises(UnsupportedError, match="string"):
        load(proto)
