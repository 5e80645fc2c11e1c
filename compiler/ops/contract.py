"""The contraction of two tensors over named axes: every matrix, outer and dot product, and their batches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from string import ascii_letters

import numpy as np

from ..core.dims import Dim, ceil_div, nominal, product
from ..core.errors import ShapeError
from ..core.types import TensorType
from ..graph.graph import Value
from ..kernel import builder as k
from ..kernel.nest import lanes_for, spread, spread_columns
from .constants import broadcast
from .op import Op, Sample, dtype_error, require_operands, require_same_dtype, shape_error
from .sample_arrays import draw, draw_special

ROWS = 4  # rows of a result that are computed together: what they share is loaded once


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

    def vjp(self, builder, operands, results, cotangents):
        """Each operand's is the contraction of the result's with the other operand, by the same letters."""
        (g,), (x, y) = cotangents, operands
        lhs, rhs, result = self.terms
        return _cotangent(builder, g, result, y, rhs, x, lhs), _cotangent(builder, g, result, x, lhs, y, rhs)

    def lower(self, block, operands, results, types, target):
        """Loops for any spec and dtype, where no template takes it: lanes over the result's last letter, or over a
        letter that is summed where that one lies side by side in both operands."""
        lhs, rhs, result = self.terms
        extents = self.extents(*types)
        summed = [c for c in dict.fromkeys(lhs + rhs) if c not in result]
        kept = [c for c in result if extents[c] != 1]
        lane = kept[-1] if kept else None
        across = lane is not None and lane in (lhs[-1:], rhs[-1:])
        dot = lhs[-1] if not across and lhs and lhs[-1:] == rhs[-1:] and lhs[-1] in summed else None
        if lane is None and dot is None:
            dot = next(iter(reversed(summed)), None)
        columns = None if dot else lane
        shared = lhs if columns in set(rhs) else rhs  # the operand that a lane reads one element of, for all lanes
        row = next((c for c in reversed(kept) if c != columns and c in shared and (c in lhs) != (c in rhs)), None)
        height = min(ROWS, extents[row] if isinstance(extents.get(row), int) else ROWS) if row else 1
        outer = [c for c in result if c not in (columns, row)]
        spaces = [*(extents[c] for c in outer), *([ceil_div(extents[row], height)] if row else [])]
        work = nominal(product(extents[c] for c in summed)) * height
        wide = types[0].dtype.compute
        lanes = target.lanes(wide)

        def tile(index, visit):
            """Accumulators for `height` rows at `index` of the outer letters; the last rows again where some are left
            over."""
            at = dict(zip(outer, index))
            places = [at]
            if row is not None:
                first = k.mul(index[-1], height)
                places = [{**at, row: k.minimum(k.add(first, r), k.as_expr(extents[row] - 1)) if height > 1 else first}
                          for r in range(height)]
                places = [{**p, row: block.let("row", p[row])} for p in places]
            visit(places)

        def begin():
            totals = [block.alloc("total", wide, (), "register") for _ in range(height)]
            for total in totals:
                block.store(total, (), k.constant(0, wide))
            return totals

        def accumulate(totals, places, letters, kind=None):
            if letters:
                name = letters[0]
                form = (kind, lanes_for(extents[name], lanes), 2) if kind and len(letters) == 1 else ()
                with block.loop(name, extents[name], *form) as i:
                    accumulate(totals, [{**p, name: i} for p in places], letters[1:], kind)
                return
            for total, place in zip(totals, places):
                x, y = operands[0]([place[c] for c in lhs]), operands[1]([place[c] for c in rhs])
                block.accumulate(total, (), "add", k.binary("mul", x, y))

        def finish(totals, places):
            for total, place in zip(totals, places):
                results[0].store([place[c] for c in result], k.load(total, ()))
        if columns is None:
            letters = [c for c in summed if c != dot] + ([dot] if dot else [])

            def dots(places):
                totals = begin()
                accumulate(totals, places, letters, "vector")
                finish(totals, places)
            with spread(block, spaces, work) as index:
                tile(index, dots)
            return
        with spread_columns(block, spaces, extents[columns], lanes, work) as (index, start, count):
            def vectors(places):
                with block.loop(columns, count, "vector", lanes_for(extents[columns], lanes)) as i:
                    at = block.let("column", k.add(start, i))
                    totals, here = begin(), [{**p, columns: at} for p in places]
                    accumulate(totals, here, summed)
                    finish(totals, here)
            tile(index, vectors)

    def vmap(self, builder, operands, is_batched, size):
        """One letter more."""
        lhs, rhs, result = self.terms
        letter = next(c for c in ascii_letters if c not in lhs + rhs)
        left, right = (letter * flag + letters for letters, flag in zip((lhs, rhs), is_batched))
        return builder.emit_all(Contract(f"{left},{right}->{letter}{result}"), *operands)

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


def _cotangent(builder, g: Value, result: str, other: Value, letters: str, operand: Value, wanted: str) -> Value:
    """The cotangent of `operand` with letters `wanted`; letters that neither g nor the other one has are repeated."""
    found = "".join(c for c in wanted if c in result or c in letters)
    out = builder.emit(Contract(f"{result},{letters}->{found}"), g, other)
    return broadcast(builder, out, operand.shape, tuple(i for i, c in enumerate(wanted) if c in found))


def _sum_alone(array: np.ndarray, letters: str, others: str) -> tuple[np.ndarray, str]:
    """`array` summed over the letters that occur nowhere else, and the letters that are left."""
    alone = tuple(i for i, c in enumerate(letters) if c not in others)
    return array.sum(axis=alone, dtype=array.dtype), "".join(c for c in letters if c in others)
