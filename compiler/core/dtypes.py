"""Which element types are there, how are they written, and how do they promote?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import DTypeError


@dataclass(frozen=True, eq=False)
class DType:
    """An element type: `name` as NumPy spells it, `short` as IR text spells it, `kind`, and its width in `bits`.

    It equals what NumPy or a string calls by its name: lm.float32 == np.float32 == "float32".
    """

    name: str
    short: str
    kind: str  # "bool", "int", "uint" or "float"
    bits: int

    @property
    def itemsize(self) -> int:
        """Bytes of one element in memory (bool takes one)."""
        return max(1, self.bits // 8)

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    @property
    def is_bool(self) -> bool:
        return self.kind == "bool"

    @property
    def is_signed(self) -> bool:
        return self.kind in ("int", "float")

    @cached_property
    def numpy(self) -> np.dtype:
        """The NumPy dtype (from ml_dtypes for bfloat16)."""
        if self.name == "bfloat16":
            import ml_dtypes
            return np.dtype(ml_dtypes.bfloat16)
        return np.dtype(self.name)

    @property
    def dtype(self) -> np.dtype:
        """The NumPy dtype under the name that NumPy looks for: np.zeros(3, lm.float32) and a.dtype == lm.float32 work."""
        return self.numpy

    @property
    def compute(self) -> "DType":
        """The type that arithmetic on this type is done in: 16-bit floats compute in float32."""
        return float32 if self.is_float and self.bits == 16 else self

    @property
    def minimum(self):
        """The smallest value: -inf for floats, False for bool."""
        return -float("inf") if self.is_float else (-(1 << (self.bits - 1)) if self.kind == "int" else 0)

    @property
    def maximum(self):
        """The largest value: +inf for floats, True for bool."""
        if self.is_float:
            return float("inf")
        return (1 << (self.bits - 1)) - 1 if self.kind == "int" else (1 << self.bits) - 1

    def __eq__(self, other) -> bool:
        if self is other:
            return True
        if isinstance(other, DType):
            return self.name == other.name
        try:
            return other is not None and self.name == as_dtype(other).name
        except DTypeError:
            return NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.short

    def __repr__(self) -> str:
        return f"lamina.{self.name}"

    def __array_namespace__(self, api_version=None):
        raise AttributeError("a dtype is not an array")


bool_ = DType("bool", "bool", "bool", 1)
int8, int16, int32, int64 = (DType(f"int{b}", f"i{b}", "int", b) for b in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (DType(f"uint{b}", f"u{b}", "uint", b) for b in (8, 16, 32, 64))
float16 = DType("float16", "f16", "float", 16)
bfloat16 = DType("bfloat16", "bf16", "float", 16)
float32 = DType("float32", "f32", "float", 32)
float64 = DType("float64", "f64", "float", 64)

ALL = (bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16, float32, float64)
FLOATS = (float16, bfloat16, float32, float64)
INTEGERS = (int8, int16, int32, int64, uint8, uint16, uint32, uint64)

_BY_NAME = {d.name: d for d in ALL} | {d.short: d for d in ALL}
_BY_NUMPY: dict[np.dtype, DType] = {}  # those asked for so far: a NumPy dtype's name takes microseconds to find
_PYTHON = {bool: bool_, int: int64, float: float32}


def as_dtype(spec) -> DType:
    """The DType that `spec` names: a DType, a name ("float32" or "f32"), a NumPy dtype, or Python's bool, int, float."""
    if isinstance(spec, DType):
        return spec
    if isinstance(spec, np.dtype) and spec in _BY_NUMPY:
        return _BY_NUMPY[spec]
    if isinstance(spec, str) and spec in _BY_NAME:
        return _BY_NAME[spec]
    if isinstance(spec, type) and spec in _PYTHON:
        return _PYTHON[spec]
    try:
        dtype = np.dtype(spec)
        if dtype.name in _BY_NAME:
            return _BY_NUMPY.setdefault(dtype, _BY_NAME[dtype.name])
    except TypeError:
        pass
    raise DTypeError(f"lamina has no dtype {spec!r}", hint="it has " + ", ".join(d.name for d in ALL))


def promote(*dtypes: DType) -> DType:
    """The common type of `dtypes`: the Array API standard's table within a kind; an integer with a float gives the
    float; the two 16-bit floats meet in float32; uint64 with a signed integer has no common type (DTypeError).
    """
    result = dtypes[0]
    for other in dtypes[1:]:
        result = _promote_two(result, other)
    return result


def _promote_two(a: DType, b: DType) -> DType:
    if a == b:
        return a
    if a.is_bool or b.is_bool:
        return b if a.is_bool else a
    if a.is_float != b.is_float:
        return a if a.is_float else b
    if a.is_float:
        return float32 if a.bits == b.bits else max(a, b, key=lambda d: d.bits)
    if a.kind == b.kind:
        return max(a, b, key=lambda d: d.bits)
    signed, unsigned = (a, b) if a.kind == "int" else (b, a)
    if signed.bits > unsigned.bits:
        return signed
    if unsigned.bits == 64:
        raise DTypeError(f"no common dtype for {a.name} and {b.name}", hint="cast one of them explicitly with astype")
    return _BY_NAME[f"int{unsigned.bits * 2}"]
