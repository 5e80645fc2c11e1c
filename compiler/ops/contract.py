"""The contraction of two tensors over named axes: every matrix, outer and dot product, and their batches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core.dims import Dim, product
from ..core.errors import ShapeError
from ..core.types import TensorType
from .op import Op, Sample, dtype_error, require_operands, require_same_dtype, shape_error
from .sample_arrays import draw, draw_special


@dataclass(frozen=True)
class Contract(Op):
    """The Einstein sum `spec` of two operands, as "zij,zjk->zik": letters that are not in the result are summed.

    Letters are single, none occurs twice in one operand, every result letter occurs in an operand. Integers wrap;
    16-bit floats accumulate in float32; the result has the operands' dtype. A sum over no elements is 0.
    """

    spec: str

    def __post_init__(self):
        match = re.fullmatch(r"([A-Za-z]*),([A-Za-z]*)->([A-Za-z]*)", self.spec)
        if not match:
            raise ShapeError(f"contract: can't read the spec {self.spec!r}", hint='write it as "zij,zjk->zik"')
        for letters in match.groups():
            if len(set(letters)) != len(letters):
                raise ShapeError(f"contract: a letter occurs twice in {letters!r} of {self.spec!r}")
        unknown = set(match.group(3)) - set(match.group(1) + match.group(2))
        if unknown:
            names = ", ".join(sorted(unknown))
            raise ShapeError(f"contract: {names} of the result occurs in no operand of {self.spec!r}")

    @cached_property
    def terms(self) -> tuple[str, str, str]:
        """The letters of the left operand, of the right operand and of the result."""
        operands, result = self.spec.split("->")
        return (*operands.split(","), result)

    @property
    def batch(self) -> tuple[str, ...]:
        """The letters of both operands and the result, in the result's order."""
        lhs, rhs, result = self.terms
        return tuple(c for c in result if c in lhs and c in rhs)

    @property
    def rows(self) -> tuple[str, ...]:
        """The letters of the left operand and the result alone, in the result's order."""
        lhs, rhs, result = self.terms
        return tuple(c for c in result if c in lhs and c not in rhs)

    @property
    def columns(self) -> tuple[str, ...]:
        """The letters of the right operand and the result alone, in the result's order."""
        lhs, rhs, result = self.terms
        return tuple(c for c in result if c in rhs and c not in lhs)

    @property
    def summed(self) -> tuple[str, ...]:
        """The letters of both operands that the result lacks, in the left operand's order."""
        lhs, rhs, result = self.terms
        return tuple(c for c in lhs if c in rhs and c not in result)

    @property
    def summed_alone(self) -> tuple[str, ...]:
        """The letters of one operand alone that the result lacks: that operand is summed over them before."""
        lhs, rhs, result = self.terms
        return tuple(c for c in lhs + rhs if (c in lhs) != (c in rhs) and c not in result)

    def extents(self, *types: TensorType) -> dict[str, Dim]:
        """The extent of every letter; ShapeError where ranks or extents do not fit the spec."""
        found: dict[str, Dim] = {}
        for side, letters, t in zip(("left", "right"), self.terms, types):
            if len(letters) != t.rank:
                what = f"the {side} operand of {self.spec!r} has {len(letters)} letters and rank {t.rank}"
                raise shape_error(self, what, *types)
            for letter, extent in zip(letters, t.shape):
                if found.setdefault(letter, extent) != extent:
                    raise shape_error(self, f"letter {letter} of {self.spec!r} is {found[letter]} and {extent}", *types)
        return found

    def infer(self, *types):
        require_operands(self, 2, *types)
        dtype = require_same_dtype(self, *types)
        if dtype.is_bool:
            raise dtype_error(self, "does not take bool", *types,
                              hint="cast to a number, and compare the result with 0")
        extents = self.extents(*types)
        return (TensorType(tuple(extents[c] for c in self.terms[2]), dtype),)

    def reference(self, x, y):
        lhs, rhs, result = self.terms
        dtype = x.dtype
        wide = dtype if dtype.kind in "iu" else np.float64
        extents = dict(zip(lhs + rhs, x.shape + y.shape))
        x, lhs = _sum_alone(x.astype(wide), lhs, rhs + result)
        y, rhs = _sum_alone(y.astype(wide), rhs, lhs + result)
        order = (self.batch, self.rows, self.columns, self.summed)
        b, m, n, s = (product(extents[c] for c in letters) for letters in order)
        left = x.transpose([lhs.index(c) for c in self.batch + self.rows + self.summed]).reshape(b, m, s)
        right = y.transpose([rhs.index(c) for c in self.batch + self.summed + self.columns]).reshape(b, s, n)
        letters = self.batch + self.rows + self.columns
        out = np.matmul(left, right).reshape([extents[c] for c in letters])
        return out.transpose([letters.index(c) for c in result]).astype(dtype)

    def flops(self, *types):
        return 2 * product(self.extents(*types).values())

    @classmethod
    def samples(cls):
        cases = [("ij,jk->ik", (3, 5), (5, 7)), ("ij,jk->ik", (17, 33), (33, 19)), ("ij,kj->ik", (6, 17), (16, 17)),
                 ("ji,jk->ik", (13, 5), (13, 4)), ("ji,kj->ki", (3, 4), (5, 3)), ("zij,zjk->zik", (2, 3, 5), (2, 5, 4)),
                 ("bhqd,bhkd->bhqk", (2, 3, 5, 4), (2, 3, 7, 4)), ("bqhd,bkhd->bhqk", (2, 5, 3, 4), (2, 7, 3, 4)),
                 ("ij,j->i", (7, 13), (13,)), ("i,ij->j", (7,), (7, 5)), ("i,j->ij", (3,), (5,)),
                 ("i,i->", (17,), (17,)),
                 ("ij,ij->i", (3, 5), (3, 5)), ("ij,ij->ij", (3, 5), (3, 5)), (",->", (), ()), (",i->i", (), (5,)),
                 ("ij,k->k", (2, 3), (4,)), ("ija,jkb->ik", (2, 3, 2), (3, 5, 3)), ("ij,jk->ik", (3, 0), (0, 4)),
                 ("ij,jk->ik", (0, 3), (3, 4)), ("ij,jk->ik", (1, 1), (1, 1)), ("ij,jk->ik", (1, 129), (129, 1)),
                 ("bti,io->bto", (2, 3, 5), (5, 4)), ("bthd,hdo->bto", (2, 3, 2, 5), (2, 5, 4)),
                 ("zij,zjk->izk", (2, 3, 5), (2, 5, 4)),
                 ("az,zb->ba", (2, 3), (3, 4))]
        samples = [Sample(cls(spec), (draw("float32", *a), draw("float32", *b, seed=1))) for spec, a, b in cases]
        for d in ("int8", "uint8", "int32", "int64", "float16", "bfloat16", "float64"):
            samples.append(Sample(cls("ij,jk->ik"), (draw(d, 5, 17), draw(d, 17, 3, seed=1))))
        special = draw_special("float32", 5, 7), draw("float32", 7, 3)
        return samples + [Sample(cls("ij,jk->ik"), special, grad=False)]


def _sum_alone(array: np.ndarray, letters: str, others: str) -> tuple[np.ndarray, str]:
    """`array` summed over the letters that occur nowhere else, and the letters that are left."""
    alone = tuple(i for i, c in enumerate(letters) if c not in others)
    return array.sum(axis=alone, dtype=array.dtype), "".join(c for c in letters if c in others)
