"""How are values and constants written in LLVM IR?"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ...core.dtypes import DType


@dataclass(frozen=True)
class Val:
    """An SSA value or constant: its text, dtype, number of lanes, and the loop level at which it is available."""

    text: str
    dtype: DType
    lanes: int = 1
    level: int = 0

    @property
    def type(self) -> str:
        return vector_type(register_type(self.dtype), self.lanes)


def register_type(dtype: DType) -> str:
    """The LLVM type of one element in a register. bfloat16 travels as its bits: every target can move those."""
    if dtype.is_bool:
        return "i1"
    if dtype.is_integer:
        return f"i{dtype.bits}"
    return {"float16": "half", "bfloat16": "i16", "float32": "float", "float64": "double"}[dtype.name]


def memory_type(dtype: DType) -> str:
    """The LLVM type of one element in memory: a bool takes a byte."""
    return "i8" if dtype.is_bool else register_type(dtype)


def vector_type(element: str, lanes: int) -> str:
    return element if lanes == 1 else f"<{lanes} x {element}>"


def constant_text(value, dtype: DType) -> str:
    """The text of a scalar constant, exact for floats."""
    if dtype.is_bool:
        return "true" if value else "false"
    if dtype.is_integer:
        return str(int(value))
    if dtype.name == "bfloat16":
        import numpy as np
        return str(int(np.asarray(value, dtype.numpy).view(np.uint16)))
    if dtype.name == "float16":
        import numpy as np
        return f"0xH{int(np.float16(value).view(np.uint16)):04X}"
    if dtype.name == "float32":
        import numpy as np
        value = float(np.float32(value))
    return "0x" + struct.pack(">d", value).hex().upper()


def constant(value, dtype: DType, lanes: int = 1) -> Val:
    text = constant_text(value, dtype)
    if lanes > 1:
        text = f"splat ({register_type(dtype)} {text})"
    return Val(text, dtype, lanes, 0)


def suffix(dtype: DType, lanes: int) -> str:
    """The type suffix of overloaded intrinsics: f32, v8f32, i64 ..."""
    element = f"f{dtype.bits}" if dtype.is_float else ("i1" if dtype.is_bool else f"i{dtype.bits}")
    return element if lanes == 1 else f"v{lanes}{element}"
