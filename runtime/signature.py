"""Do these arguments fit?  The inputs and outputs of a compiled model, and the extents that bind its dims."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import DTypeError, LaminaError, ShapeError


@dataclass(frozen=True)
class TensorSpec:
    """The type of an input or output: `shape` of ints and names (or expressions) of dims, a NumPy dtype name, a name."""

    shape: tuple
    dtype: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


def numpy_dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def extent_of(form, extents: dict[str, int]) -> int:
    """The value of a dim: an int, a name, or a sum of products as nested lists (the manifest's form)."""
    if isinstance(form, int):
        return form
    if isinstance(form, str):
        return extents[form]
    if form[0] == "floordiv":
        return extent_of(form[1], extents) // form[2]
    total = 0
    for coefficient, atoms in form[1]:
        for atom in atoms:
            coefficient *= extent_of(atom, extents)
        total += coefficient
    return total


class Signature:
    """What a model takes and gives; reads the manifest."""

    def __init__(self, manifest: dict):
        self._inputs = manifest["inputs"]
        self._outputs = manifest["outputs"]
        self.inputs = tuple(TensorSpec(tuple(p["shape"]), p["dtype"], p["name"]) for p in self._inputs)
        self.outputs = tuple(TensorSpec(tuple(p["shape"]), p["dtype"], p["name"]) for p in self._outputs)
        self.output_names = tuple(p["name"] for p in self._outputs)
        self._names = dict.fromkeys(p["name"] for p in self._inputs)  # in order
        self.symbols = manifest["symbols"]  # name -> [lower, upper or None, multiple]
        self._dtypes = [numpy_dtype(p["dtype"]) for p in self._inputs]
        self._forms = [tuple(p["form"]) for p in self._inputs]
        self._static = [f if all(isinstance(d, int) for d in f) else None for f in self._forms]
        self._out = [(tuple(p["form"]), numpy_dtype(p["dtype"])) for p in self._outputs]
        self._static_outputs = ([(f, d) for f, d in self._out] if all(isinstance(d, int) for f, _ in self._out for d in f) else None)

    def by_name(self, feeds: dict) -> list:
        """The arrays of `feeds` in the order of the inputs; says which names are missing or unknown."""
        names = self._names
        if feeds.keys() == names.keys():
            return [feeds[n] for n in names]
        missing, unknown = [n for n in names if n not in feeds], [n for n in feeds if n not in names]
        if missing or unknown:
            parts = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"unknown: {', '.join(map(str, unknown))}"] * bool(unknown)
            raise LaminaError(f"the inputs do not fit ({'; '.join(parts)})", hint=f"the model takes {', '.join(names) or 'no inputs'}")
        return [feeds[n] for n in names]

    def bind(self, arrays) -> tuple[list[np.ndarray], tuple[int, ...]]:
        """Arrays as native code takes them (dense, native byte order), and the extents in the order of `symbols`."""
        if len(arrays) != len(self._inputs):
            raise LaminaError(f"{len(arrays)} arrays were given, the model takes {len(self._inputs)}",
                              hint="it takes " + ", ".join(map(str, self.inputs)))
        ready = []
        for array, dtype, static, i in zip(arrays, self._dtypes, self._static, range(len(arrays))):
            if type(array) is not np.ndarray or array.dtype != dtype or not array.flags.c_contiguous:
                array = self._prepare(i, array, dtype)
            if static is not None and array.shape != static:
                raise ShapeError(f"input {self.inputs[i].name!r} has shape {array.shape}, {self.inputs[i]} was expected")
            ready.append(array)
        if not self.symbols:
            return ready, ()
        return ready, self._extents(ready)

    def _prepare(self, i: int, array, dtype: np.dtype) -> np.ndarray:
        spec = self.inputs[i]
        array = np.asarray(array)
        if array.dtype != dtype and array.dtype.newbyteorder("=") != dtype:
            raise DTypeError(f"input {spec.name!r} is {array.dtype.name}, {spec} was expected",
                             hint=f"convert it with .astype({dtype.name!r})")
        return np.ascontiguousarray(array, dtype).reshape(array.shape)

    def _extents(self, arrays) -> tuple[int, ...]:
        found: dict[str, int] = {}
        owner: dict[str, str] = {}
        rest = []
        for spec, form, array in zip(self.inputs, self._forms, arrays):
            if array.ndim != len(form):
                raise ShapeError(f"input {spec.name!r} has rank {array.ndim}, {spec} was expected")
            for axis, (dim, extent) in enumerate(zip(form, array.shape)):
                if not isinstance(dim, str):
                    rest.append((spec, axis, dim, extent))
                    continue
                if found.setdefault(dim, extent) != extent:
                    raise ShapeError(f"input {spec.name!r}, axis {axis}: dim {dim!r} is {extent} here and {found[dim]} in input {owner[dim]!r}")
                owner.setdefault(dim, spec.name)
                lower, upper, multiple = self.symbols[dim]
                if extent < lower or (upper is not None and extent > upper) or extent % multiple:
                    fact = f"{dim}={lower}..{'' if upper is None else upper}" + (f"%{multiple}" if multiple > 1 else "")
                    raise ShapeError(f"input {spec.name!r}, axis {axis}: extent {extent} breaks the declared fact {fact}",
                                     hint="compile with wider facts for this dim, or change the input")
        for spec, axis, dim, extent in rest:
            expected = extent_of(dim, found)
            if expected != extent:
                raise ShapeError(f"input {spec.name!r}, axis {axis}: extent {extent}, {expected} was expected ({spec})")
        return tuple(found[s] for s in self.symbols)

    def output_shapes(self, extents: tuple[int, ...]) -> list[tuple[tuple[int, ...], np.dtype]]:
        if self._static_outputs is not None:
            return self._static_outputs
        values = dict(zip(self.symbols, extents))
        return [(tuple(extent_of(d, values) for d in form), dtype) for form, dtype in self._out]
