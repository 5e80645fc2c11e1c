"""What can be asked of dtypes?  Limits, kinds, promotion, and what the Array API standard asks of a namespace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compiler.core.dtypes import (ALL, DType, as_dtype, bool_, float32, float64, int8, int16, int32, int64, promote,
                                     uint8, uint16, uint32, uint64)
from ...compiler.core.errors import DTypeError
from . import operands
from .operands import weak_kind
from .tracer import Tracer, dtype_error

_FRACTION_BITS = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}
_SMALLEST_EXPONENT = {"float16": -14, "bfloat16": -126, "float32": -126, "float64": -1022}
_KINDS = {"bool": ("bool",), "signed integer": ("int",), "unsigned integer": ("uint",), "integral": ("int", "uint"),
          "real floating": ("float",), "complex floating": (), "numeric": ("int", "uint", "float")}


@dataclass(frozen=True)
class FloatInfo:
    """Limits of a floating dtype: `eps` is the distance from 1 to the next float, `bits` the width."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True)
class IntegerInfo:
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype(x) -> DType:
    return operands.dtype_of(x) if isinstance(x, (Tracer, np.ndarray)) else as_dtype(x)


def finfo(dtype, /) -> FloatInfo:
    """The limits of a floating dtype, or of an array's."""
    dtype = _dtype(dtype)
    if not dtype.is_float:
        raise dtype_error(f"finfo of {dtype.name}, which is no floating dtype")
    fraction, smallest = _FRACTION_BITS[dtype.name], 2.0 ** _SMALLEST_EXPONENT[dtype.name]
    largest = (2.0 - 2.0 ** -fraction) * 2.0 ** (1 - _SMALLEST_EXPONENT[dtype.name])
    return FloatInfo(dtype.bits, 2.0 ** -fraction, largest, -largest, smallest, dtype)


def iinfo(dtype, /) -> IntegerInfo:
    """The limits of an integer dtype, or of an array's."""
    dtype = _dtype(dtype)
    if not dtype.is_integer:
        raise dtype_error(f"iinfo of {dtype.name}, which is no integer dtype")
    return IntegerInfo(dtype.bits, dtype.maximum, dtype.minimum, dtype)


def isdtype(dtype, kind, /) -> bool:
    """Whether `dtype` is the dtype `kind`, or of the kind that it names ("integral", "real floating" ...), or of one of
    several."""
    dtype = as_dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return dtype.kind in _KINDS[kind]
    return dtype == as_dtype(kind)


def result_type(*arrays_and_dtypes) -> DType:
    """The dtype that arrays, dtypes and Python scalars (which are weak) promote to."""
    if not arrays_and_dtypes:
        raise dtype_error("result_type of nothing")
    return operands.result_dtype(*(np.empty(0, x.numpy) if isinstance(x, DType) else x
                                   if weak_kind(x) is not None or isinstance(x, (Tracer, np.ndarray, np.generic))
                                   else np.empty(0, as_dtype(x).numpy) for x in arrays_and_dtypes))


def can_cast(from_, to, /) -> bool:
    """Whether promotion takes `from_` (an array or a dtype) to `to`."""
    try:
        return promote(_dtype(from_), as_dtype(to)) == as_dtype(to)
    except DTypeError:
        return False


class NamespaceInfo:
    """The Array API standard's inspection: what dtypes, devices and capabilities there are."""

    def capabilities(self) -> dict:
        return {"boolean indexing": False, "data-dependent shapes": False, "max dimensions": None}

    def default_device(self) -> str:
        return "cpu"

    def devices(self) -> list[str]:
        return ["cpu"]

    def default_dtypes(self, *, device=None) -> dict:
        return {"real floating": float32, "complex floating": None, "integral": int64, "indexing": int64}

    def dtypes(self, *, device=None, kind=None) -> dict:
        standard = (bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64)
        return {d.name: d for d in ALL if d in standard and (kind is None or isdtype(d, kind))}


def __array_namespace_info__() -> NamespaceInfo:
    """What the Array API standard asks of a namespace."""
    return NamespaceInfo()
