"""Which operators give what they take, and say something about it?"""

from __future__ import annotations

from dataclasses import dataclass

from .op import Sample, require_operands
from .rearrange import View
from .sample_arrays import draw, draw_special


@dataclass(frozen=True)
class StopGradient(View):
    """x, of which derivatives say that it is a constant."""

    is_flat = True

    def infer(self, *types):
        require_operands(self, 1, *types)
        return types

    def reference(self, x):
        return x

    def element(self, operands, index, types, result):
        return operands[0](tuple(index))

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(self, *operands)

    @classmethod
    def samples(cls):
        arrays = draw("float32", 3, 17), draw("bfloat16", 5), draw("int8", 0, 2), draw_special("float64", 11)
        return [Sample(cls(), (a,), grad=False) for a in arrays]
