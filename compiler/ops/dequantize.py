"""What do narrow integers stand for?  Floats: a scale, and a zero point, for every run of them along one axis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core.dtypes import float32, int8, int32, uint8
from ..core.types import TensorType
from ..kernel import builder as k
from .batching import all_batched
from .op import Op, Sample, dtype_error, require_axis, require_operands, shape_error
from .sample_arrays import draw


@dataclass(frozen=True)
class Dequantize(Op):
    """(codes, scales) -> (codes - zero) * scales as float32, a scale for each `group` neighbours along `axis`.

    Codes are int8 or uint8. With 4 `bits` a uint8 holds two neighbours along `axis`, the first one in its lower half:
    their values are 0 to 15. Scales are floats of the result's shape, but for `axis`, where each group has one.
    """

    axis: int
    group: int
    bits: int = 8
    zero: int = 0

    not_differentiable = "codes are integers, and scales were chosen with them"
    expands = True  # codes stay narrow where they are constants

    def infer(self, *types):
        require_operands(self, 2, *types)
        codes, scales = types
        require_axis(self, self.axis, codes.rank)
        if self.bits not in (4, 8) or codes.dtype not in ((uint8,) if self.bits == 4 else (int8, uint8)):
            raise dtype_error(self, f"{self.bits} bits in {codes.dtype.name}", *types,
                              hint="8 in int8 or uint8, 4 in uint8")
        if not scales.dtype.is_float:
            raise dtype_error(self, "scales are floats", *types)
        extent = codes.shape[self.axis] * (8 // self.bits)
        shape = tuple(extent if i == self.axis else d for i, d in enumerate(codes.shape))
        groups = tuple(extent // self.group if i == self.axis else d for i, d in enumerate(shape))
        if self.group < 1 or extent != groups[self.axis] * self.group or scales.shape != groups:
            what = f"groups of {self.group} along axis {self.axis} of {shape} have scales {groups}"
            raise shape_error(self, what, *types)
        return (TensorType(shape, float32),)

    def reference(self, codes, scales):
        wide = codes.astype(np.float32)
        if self.bits == 4:
            halves = np.stack([codes & 15, codes >> 4], self.axis + 1)
            shape = list(codes.shape)
            shape[self.axis] *= 2
            wide = halves.reshape(shape).astype(np.float32)
        return (wide - np.float32(self.zero)) * np.repeat(scales.astype(np.float32), self.group, self.axis)

    def element(self, operands, index, types, result):
        at = index[self.axis]
        per_byte = 8 // self.bits
        byte = tuple(k.floordiv(i, per_byte) if a == self.axis else i for a, i in enumerate(index))
        group = tuple(k.floordiv(i, self.group) if a == self.axis else i for a, i in enumerate(index))
        code = k.cast(int32, operands[0](byte))
        if self.bits == 4:
            is_first = k.compare("eq", k.mod(at, 2), 0)
            code = k.select(is_first, self.half(code, 0), self.half(code, 1))
        value = k.binary("sub", k.cast(float32, code), k.constant(self.zero, float32))
        return k.binary("mul", value, k.cast(float32, operands[1](group)))

    @staticmethod
    def half(code, number: int):
        """The lower (0) or upper (1) half of a byte that was widened to int32."""
        if number == 0:
            return k.binary("and", code, k.constant(15, int32))
        return k.binary("shr", code, k.constant(4, int32))

    has_element = True

    def vmap(self, builder, operands, is_batched, size):
        op = replace(self, axis=self.axis + 1)
        return builder.emit_all(op, *all_batched(builder, operands, is_batched, size))

    @classmethod
    def samples(cls):
        cases = [(cls(0, 4), (12, 5), (3, 5), "int8", "float32"),
                 (cls(1, 6, 8, 128), (3, 6), (3, 1), "uint8", "float16"),
                 (cls(0, 4, 4, 8), (6, 5), (3, 5), "uint8", "bfloat16"),
                 (cls(1, 2, 4), (7, 17), (7, 17), "uint8", "float32"),
                 (cls(1, 1), (2, 3, 2), (2, 3, 2), "int8", "float32"), (cls(0, 2), (0, 3), (0, 3), "int8", "float32"),
                 (cls(0, 5), (5,), (1,), "int8", "float32")]
        return [Sample(op, (draw(d, *codes), draw(s, *scales, seed=1)), grad=False)
                for op, codes, scales, d, s in cases]
