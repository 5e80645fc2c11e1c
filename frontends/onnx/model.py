"""How is an ONNX file read?  Bytes to a ModelProto, tensors to NumPy arrays; nothing in the file is trusted.

Sizes are checked before memory is allocated, external data may only lie inside the model's folder (symbolic links are
resolved first), and what cannot be read gives a FormatError that says what was found.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Iterator, Mapping

import numpy as np

from ...compiler.core.dtypes import DType, as_dtype
from ...compiler.core.errors import DTypeError, FormatError, UnsupportedError
from .wire import Malformed, split_weights

MISALIGNED = 1 << 16  # bytes from which a tensor stays where it lies in the file, whatever the address

#: What a file that is no ONNX model often is instead, by its first bytes.
_OTHER_FORMATS = (
    (b"PK\x03\x04", "a ZIP archive (a PyTorch checkpoint or a .lam artifact?)"), (b"\x89HDF", "an HDF5 file"),
    (b"\x80\x02", "a Python pickle"), (b"\x80\x04", "a Python pickle"), (b"\x7fELF", "an ELF object"),
    (b"\x1f\x8b", "a gzip file"), (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for"),
    (b"<!DOCTYPE", "an HTML page"), (b"<html", "an HTML page"), (b"\x93NUMPY", "a .npy array"),
    (b"ORTM", "an ORT model"),
    (b"\x18\x00\x00\x00TFL3", "a TFLite model"), (b"\x1c\x00\x00\x00TFL3", "a TFLite model"), (b"GGUF", "a GGUF file"),
)


@dataclass(frozen=True)
class Model:
    """A parsed model: its `proto`, the name for messages (`source`) and the `folder` that external data may lie in.

    `weights` holds the bytes of large initializers, by position: they stay in the file, memory-mapped.
    """

    proto: Any
    source: str
    folder: Path | None = None
    weights: Mapping[int, np.ndarray] = field(default_factory=dict)
    mapped: dict[Path, np.ndarray] = field(default_factory=dict)

    @property
    def opsets(self) -> dict[str, int]:
        """The version of each operator domain that the model imports; the ONNX domain is ""."""
        return {domain_name(o.domain): o.version for o in self.proto.opset_import}

    def initializers(self) -> Iterator[tuple[str, np.ndarray]]:
        """The name and the array of every initializer of the main graph."""
        for position, tensor in enumerate(self.proto.graph.initializer):
            yield tensor.name, read_tensor(self, tensor, self.weights.get(position))

    def tensor(self, proto) -> np.ndarray:
        """The array that a TensorProto holds: a view of its bytes where they are raw, memory-mapped where external."""
        return read_tensor(self, proto)


def domain_name(name: str) -> str:
    """The domain as the table has it: the ONNX domain, under both of its names, is ""."""
    return "" if name == "ai.onnx" else name


def read_model(source) -> Model:
    """The model in `source`: a path, the bytes of a file, or a ModelProto. FormatError where it is not one."""
    import onnx
    if isinstance(source, onnx.ModelProto):
        return _checked(Model(source, "the ModelProto"))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _parsed(np.frombuffer(source, np.uint8), "the bytes given", None)
    path = Path(os.fspath(source))
    if not path.is_file():
        raise FormatError(f"{path} is {'a folder' if path.is_dir() else 'not there'}: an ONNX file was expected")
    return _parsed(map_file(path), str(path), path.parent.resolve())


def map_file(path: Path) -> np.ndarray:
    """The bytes of a file, memory-mapped."""
    return np.memmap(path, mode="r", dtype=np.uint8) if path.stat().st_size else np.empty(0, np.uint8)


def _parsed(data: np.ndarray, source: str, folder: Path | None) -> Model:
    import onnx
    from google.protobuf.message import DecodeError
    head = data[:64].tobytes()
    for magic, what in _OTHER_FORMATS:
        if head.startswith(magic):
            raise FormatError(f"{source} is not an ONNX model: it is {what}")
    if not head:
        raise FormatError(f"{source} is empty: an ONNX model was expected")
    try:
        text, weights = split_weights(data)
    except Malformed:
        text, weights = data.tobytes(), {}
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(text)
    except (DecodeError, RuntimeError) as error:
        raise FormatError(f"{source} ({data.size} bytes) is not an ONNX model, or is truncated: {error}") from None
    return _checked(Model(proto, source, folder, weights))


def _checked(model: Model) -> Model:
    proto = model.proto
    present = {"IR version": proto.ir_version > 0, "graph": proto.HasField("graph"),
               "operator set": len(proto.opset_import) > 0}
    missing = ", ".join(f"no {what}" for what, is_there in present.items() if not is_there)
    if missing:
        raise FormatError(f"{model.source} is not an ONNX model, or is truncated: it has {missing}")
    graph = proto.graph
    require_text(model.source, graph.name, *(v.name for values in (graph.input, graph.output, graph.initializer)
                                             for v in values))
    return model


def require_text(source: str, *names) -> None:
    """FormatError where a name is not UTF-8: protobuf gives it as bytes then."""
    for name in names:
        if not isinstance(name, str):
            raise FormatError(f"{source} is corrupt: the name {name!r} is not UTF-8")


# ---- tensors -------------------------------------------------------------------------------------------------------
def element_type(code: int) -> np.dtype:
    """The NumPy dtype of an ONNX element type code; UnsupportedError for strings and complex numbers."""
    import onnx
    try:
        name = onnx.TensorProto.DataType.Name(code)
    except ValueError:
        raise FormatError(f"element type {code} is not one that ONNX defines") from None
    if name in ("UNDEFINED", "STRING", "COMPLEX64", "COMPLEX128"):
        raise UnsupportedError(f"lamina has no element type {name.lower()}")
    return onnx.helper.tensor_dtype_to_np_dtype(code)


def dtype_of_code(code: int) -> DType:
    """lamina's dtype for an ONNX element type code; UnsupportedError where it has none."""
    try:
        return as_dtype(element_type(code))
    except DTypeError as error:
        raise UnsupportedError(error.message) from None


def read_tensor(model: Model, proto, raw=None) -> np.ndarray:
    """The array of a TensorProto, whose bytes are `raw` where they were left in the file.

    Its shape must agree with the bytes that are there, which is checked before anything is allocated.
    """
    from onnx import TensorProto, helper, numpy_helper
    name, shape = proto.name or "a tensor without a name", tuple(proto.dims)
    if any(d < 0 for d in shape):
        raise FormatError(f"{model.source}: {name!r} has the shape {list(shape)}")
    if proto.HasField("segment"):
        raise UnsupportedError(f"{model.source}: {name!r} is stored in segments")
    dtype, count = element_type(proto.data_type), prod(shape)
    kind = TensorProto.DataType.Name(proto.data_type)
    per_byte = 4 if kind.endswith("INT2") else 2 if kind.endswith("INT4") or kind.startswith("FLOAT4") else 1
    nbytes = -(-count // per_byte) * dtype.itemsize
    if raw is None and proto.data_location == TensorProto.EXTERNAL:
        raw = _external(model, proto, name, nbytes)
    elif raw is None and proto.HasField("raw_data"):
        raw = proto.raw_data
    elif raw is None:
        stored = getattr(proto, helper.tensor_dtype_to_field(proto.data_type))
        _require_size(model, name, shape, len(stored), -(-count // per_byte), "values")
        return _decoded(numpy_helper.to_array, proto, name, model)
    _require_size(model, name, shape, len(raw), nbytes, "bytes")
    if per_byte == 1:
        array = np.frombuffer(raw, dtype=dtype)
        if not array.flags.aligned and nbytes < MISALIGNED:  # copied as bytes: NumPy copies such elements one by one
            array = np.frombuffer(raw, np.uint8).copy().view(dtype)
        return array.reshape(shape)
    packed = TensorProto(name=proto.name, data_type=proto.data_type, dims=shape, raw_data=bytes(raw))
    return _decoded(numpy_helper.to_array, packed, name, model)


def _require_size(model: Model, name: str, shape, stored: int, needed: int, what: str) -> None:
    if stored != needed:
        raise FormatError(f"{model.source}: {name!r} has {stored} {what}, its shape {list(shape)} takes {needed}")


def _decoded(decode, proto, name: str, model: Model) -> np.ndarray:
    try:
        return decode(proto)
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"{model.source}: {name!r} can't be read: {error}") from None


def _external(model: Model, proto, name: str, nbytes: int) -> np.ndarray:
    """The bytes of a tensor that lies in a file of its own, memory-mapped."""
    entries = {e.key: e.value for e in proto.external_data}
    path = _inside_folder(model, entries.get("location", ""), name)
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or nbytes)
    except ValueError:
        raise FormatError(f"{model.source}: {name!r} has an external offset or length that is no number") from None
    if length != nbytes or offset < 0:
        raise FormatError(f"{model.source}: {name!r} claims {length} external bytes at offset {offset}, "
                          f"its shape {list(proto.dims)} takes {nbytes}")
    if nbytes == 0:
        return np.empty(0, np.uint8)
    if path not in model.mapped:
        model.mapped[path] = map_file(path)
    data = model.mapped[path]
    if offset + length > data.size:
        raise FormatError(f"{model.source}: {name!r} ends at byte {offset + length} of {path.name}, which has "
                          f"{data.size}",
                          hint="the external data is truncated, or belongs to another version of the model")
    return data[offset:offset + length]


def _inside_folder(model: Model, location: str, name: str) -> Path:
    """The file `location` inside the model's folder; FormatError for every way out of it."""
    if model.folder is None:
        raise FormatError(f"{name!r} lies in the external file {location!r}, but {model.source} have no folder",
                          hint="load the model by its path")
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    outside = (not location or "\0" in location or posix.is_absolute() or windows.drive or windows.root
               or ".." in posix.parts or ".." in windows.parts)
    path = None if outside else (model.folder / location).resolve()
    if path is None or not path.is_relative_to(model.folder):
        raise FormatError(f"{model.source}: {name!r} points to the external file {location!r}, outside the model's "
                          "folder", hint="external data must lie beside the model: no absolute path, no '..', no link "
                                         "that leads out")
    if not path.is_file():
        raise FormatError(f"{model.source}: the external file {location!r} of {name!r} is not there")
    return path
