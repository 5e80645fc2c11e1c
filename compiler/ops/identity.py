"""Which operators give what they take, and say something about it?"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.errors import ShapeError
from .op import Op, Sample, require_operands
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


@dataclass(frozen=True)
class Barrier(Op):
    """(x, *others) -> x, which passes take for another value than x: nothing moves across, nothing is shared across.

    It waits for the others. At run time it is x where it lies.
    """

    def infer(self, *types):
        if not types:
            raise ShapeError("barrier takes one operand or more, got none")
        return types[:1]

    def reference(self, x, *others):
        return x

    def vjp(self, builder, operands, results, cotangents):
        return cotangents[0], *(None for _ in operands[1:])

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(self, *operands)

    def flops(self, *types):
        return 0

    @classmethod
    def samples(cls):
        return [Sample(cls(), (draw("float32", 3, 17),)), Sample(cls(), (draw("float32", 0, 2), draw("int8", 5))),
                Sample(cls(), (draw("bfloat16", 7), draw("float32"), draw("float32", 2)))]
