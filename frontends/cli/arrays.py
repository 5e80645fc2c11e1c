"""Which arrays go in, and where do they come out?  -i specifications, .npy and .npz files, generated data."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...compiler.core.dims import evaluate, parse_dim
from ...compiler.core.dtypes import as_dtype
from ...compiler.core.errors import DTypeError, FormatError, LaminaError
from ...runtime.atomic import written_whole
from ...runtime.signature import TensorSpec, numpy_dtype

INPUT_HELP = ("an input: x=@x.npy, x=2x8xf32=rand:7 (seed 7; also rand:7:0..9 between bounds, zeros, ones, range, 3.5), x=rand with the "
              "model's own shape; or a .npy file (in order) or .npz (by name)")


def gather_inputs(specs: Sequence[str], inputs: Sequence[TensorSpec], symbols: Mapping[str, Sequence], fill: str | None = None,
                  known: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """The arrays for `inputs` from what was typed. `symbols` are the facts of the dims (lower, upper, multiple) by name.

    `fill` generates inputs that were not given ("rand:0"), else they are an error. `known` are arrays by name that stand in for
    inputs that were not given.
    """
    names = [spec.name for spec in inputs]
    found: dict[str, np.ndarray] = {}
    generated: dict[str, str] = {}
    loose: list[np.ndarray] = []
    for text in specs:
        name = next((n for n in sorted(names, key=len, reverse=True) if text.startswith(n + "=")), None)
        if name is None and _is_file(text):
            loaded = read_arrays(text.removeprefix("@"))
            if isinstance(loaded, np.ndarray):
                loose.append(loaded)
            else:
                found.update(_by_name(text, loaded, names))
        elif name is None:
            raise LaminaError(f"the model has no input for {text!r}", hint=f"its inputs are {', '.join(map(str, inputs)) or 'none'}")
        elif text[len(name) + 1:].startswith("@"):
            found[name] = _one(read_arrays(text[len(name) + 2:]), text)
        else:
            generated[name] = text[len(name) + 1:]
    free = [n for n in names if n not in found and n not in generated]
    if len(loose) > len(free):
        raise LaminaError(f"{len(loose)} arrays were given for {len(free)} inputs", hint=f"the model takes {', '.join(map(str, inputs))}")
    found.update(zip(free, loose))
    for name in names:
        if name not in found and name not in generated and known and name in known:
            found[name] = known[name]
    missing = [spec for spec in inputs if spec.name not in found and spec.name not in generated]
    if missing and fill is None:
        raise LaminaError(f"no array was given for {', '.join(map(str, missing))}",
                          hint=f"-i {missing[0].name}=@{missing[0].name}.npy, or -i {missing[0].name}=rand")
    generated.update((spec.name, fill) for spec in missing)
    found = {name: _viewed(array, next(s for s in inputs if s.name == name)) for name, array in found.items()}
    extents = _extents(inputs, found, generated, symbols)
    for spec in inputs:
        if spec.name in generated:
            found[spec.name] = generate(generated[spec.name], spec, extents)
    return {name: found[name] for name in names}


def _is_file(text: str) -> bool:
    return text.startswith("@") or text == "-" or text.endswith((".npy", ".npz")) or ("=" not in text and Path(text).exists())


def _by_name(source: str, arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    found = {name: array for name, array in arrays.items() if name in names}
    if arrays and not found:
        raise LaminaError(f"{source} holds {', '.join(arrays)}: none of them is an input", hint=f"the model takes {', '.join(names)}")
    return found


def _one(loaded, text: str) -> np.ndarray:
    if isinstance(loaded, np.ndarray):
        return loaded
    if len(loaded) == 1:
        return next(iter(loaded.values()))
    raise LaminaError(f"{text}: the file holds {len(loaded)} arrays", hint="give the .npz without a name: its arrays go by theirs")


def _viewed(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Bytes of a dtype that .npy has no name for, as the model's input has it (bfloat16 is stored as two raw bytes)."""
    dtype = numpy_dtype(spec.dtype)
    return array.view(dtype) if array.dtype.kind == "V" and array.dtype.itemsize == dtype.itemsize else array


# ---- generated arrays ------------------------------------------------------------------------------------------------
_TYPED = re.compile(r"(?:(?P<shape>\d+(?:x\d+)*)x)?(?P<dtype>[a-z]+\d*)=(?P<what>.+)")
_RANDOM = re.compile(r"rand(?::(?P<seed>\d+))?(?::(?P<low>-?[\d.]+)\.\.(?P<high>-?[\d.]+))?")


def _split(text: str, spec: TensorSpec) -> tuple[tuple[int, ...] | None, str, str]:
    """(shape or None, dtype, generator) of "1x8xf32=rand:7" or "rand:7"."""
    match = _TYPED.fullmatch(text)
    if not match:
        return None, spec.dtype, text
    try:
        dtype = as_dtype(match["dtype"]).name
    except DTypeError as error:
        raise LaminaError(f"input {spec.name!r}: {error.message}", hint="write a shape and dtype such as 1x8xf32=rand:7") from None
    return tuple(map(int, match["shape"].split("x"))) if match["shape"] else (), dtype, match["what"]


def _extents(inputs, found, generated, symbols) -> dict[str, int]:
    """An extent for each dim: as arrays and typed shapes have it, else the smallest that its facts allow, at least 1."""
    extents: dict[str, int] = {}
    for spec in inputs:
        shape = found[spec.name].shape if spec.name in found else _split(generated[spec.name], spec)[0]
        for dim, extent in zip(spec.shape, shape or ()):
            if isinstance(dim, str):
                extents.setdefault(dim, extent)
    for name, (lower, _, multiple) in symbols.items():
        extents.setdefault(name, max(-(-max(lower, 1) // multiple) * multiple, 1))
    return extents


def generate(text: str, spec: TensorSpec, extents: Mapping[str, int]) -> np.ndarray:
    """The array that `text` describes: rand[:seed[:low..high]], zeros, ones, range or a number, with or without shape and dtype.

    Random floats are standard normal, random integers are 0 or 1 (any index or mask takes them), unless bounds are given.
    """
    shape, dtype_name, what = _split(text, spec)
    if shape is None:
        shape = tuple(evaluate(parse_dim(str(d), {}), extents) for d in spec.shape)
    dtype = numpy_dtype(dtype_name)
    size = int(np.prod(shape, dtype=np.int64))
    if what == "zeros":
        return np.zeros(shape, dtype)
    if what == "ones":
        return np.ones(shape, dtype)
    if what == "range":
        return np.arange(size).astype(dtype).reshape(shape)
    if match := _RANDOM.fullmatch(what):
        return _random(np.random.default_rng(int(match["seed"] or 0)), shape, dtype, dtype_name, match["low"], match["high"])
    try:
        return np.full(shape, float(what) if "float" in dtype_name else int(what, 0), dtype)
    except (ValueError, OverflowError):
        raise LaminaError(f"input {spec.name!r}: can't make an array from {text!r}", hint="write rand:7, zeros, ones, range, a number, "
                          "or @file.npy; with a shape and dtype in front: 1x8xf32=rand:7") from None


def _random(rng, shape, dtype, dtype_name: str, low: str | None, high: str | None) -> np.ndarray:
    if "float" in dtype_name:
        return (rng.standard_normal(shape) if low is None else rng.uniform(float(low), float(high), shape)).astype(dtype)
    bounds = (0, 1) if low is None or dtype_name == "bool" else (int(low), int(high))
    return rng.integers(*bounds, shape, endpoint=True).astype(dtype)


# ---- files -----------------------------------------------------------------------------------------------------------
def read_arrays(path: str) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a .npy file, or those of an .npz by name; `-` is standard input. FormatError where it is neither."""
    data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    shown = "standard input" if path == "-" else path
    if not data.startswith((b"\x93NUMPY", b"PK")):
        raise FormatError(f"{shown} is neither a .npy nor an .npz file", hint="numpy.save and numpy.savez write them")
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, KeyError) as error:
        raise FormatError(f"{shown} can't be read: {error}") from None


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as an .npz file; any name will do."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(name + ".npy"), npy_bytes(array))
    return out.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    """The array as a .npy file; bfloat16 as raw pairs of bytes, since .npy has no name for it."""
    out = io.BytesIO()
    np.lib.format.write_array(out, array.view(f"V{array.itemsize}") if array.dtype.name == "bfloat16" else np.asarray(array),
                              allow_pickle=False)
    return out.getvalue()


def write_arrays(path: str, arrays: Mapping[str, np.ndarray], console) -> None:
    """Write to a .npz, a .npy (one array), or `-`: standard output, as .npy where there is one array."""
    if path.endswith(".npy") and len(arrays) != 1:
        raise LaminaError(f"a .npy file holds one array, the model gives {len(arrays)}", hint=f"-o {path[:-4]}.npz")
    if path != "-" and not path.endswith((".npy", ".npz")):
        raise LaminaError(f"can't write arrays to {path!r}", hint="end the name with .npz or .npy, or write - for standard output")
    data = npy_bytes(next(iter(arrays.values()))) if path.endswith(".npy") or (path == "-" and len(arrays) == 1) else npz_bytes(arrays)
    if path == "-":
        console.write_bytes(data)
    else:
        write_file(path, data)


def write_file(path: str | Path, data: str | bytes) -> None:
    """Write `data` under `path`, whole or not at all; in place where that is no plain file, such as /dev/null or a pipe."""
    path = Path(path)
    data = data.encode() if isinstance(data, str) else data
    require_folder(path)
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        with written_whole(path, durable=False) as file:
            file.write(data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LaminaError(f"can't write {path}: {error.strerror or error}") from error


def require_folder(path: str | Path) -> None:
    """A LaminaError where a file of this name could not be written for want of its folder."""
    if not Path(path).parent.is_dir():
        raise LaminaError(f"can't write {path}: there is no folder {Path(path).parent}")
