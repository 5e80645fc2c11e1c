"""Which contractions are simpler ones?  Letters are renamed so that no operand need be transposed or repeated in
memory."""

from __future__ import annotations

from ..core.dims import Dim, product
from ..graph.builder import Builder
from ..graph.graph import Value
from ..ops.constants import broadcast, filled, is_count
from ..ops.contract import Contract
from ..ops.elementwise import Mul
from ..ops.rearrange import Broadcast, Transpose
from ..ops.reduce import Reduce
from .order import inverse
from .rule import rule, used_once
from .views import is_unit_reshape, reshape, source, without_units


def _spec(left: str, right: str, result: str) -> Contract:
    return Contract(f"{left},{right}->{result}")


@rule(Contract)
def contract_transposed(b: Builder, op, x, y):
    """contract(transpose(x), y) -> contract(x, y), with x's letters in another order."""
    terms, operands = list(op.terms), [x, y]
    for i, operand in enumerate(operands):
        if isinstance(operand.op, Transpose):
            terms[i] = "".join(terms[i][p] for p in inverse(operand.op.permutation))
            operands[i] = source(operand)
    return b.emit(_spec(*terms), *operands) if operands != [x, y] else None


@rule(Transpose)
def transpose_contracted(b: Builder, op, x):
    """transpose(contract(x, y)) -> contract(x, y), with the result's letters in another order."""
    if not isinstance(x.op, Contract) or not used_once(b, x):
        return None
    left, right, result = x.op.terms
    return b.emit(_spec(left, right, "".join(result[p] for p in op.permutation)), *x.node.operands)


@rule(Contract)
def contract_repeated(b: Builder, op, x, y):
    """contract(broadcast(x), y) -> contract(x, y) without the letters along which x is repeated.

    A letter that is left in no operand is repeated in the result instead, or, where it was summed, becomes a factor.
    """
    operands, terms = [x, y], list(op.terms)
    extents = op.extents(x.type, y.type)
    for i, operand in enumerate(operands):
        if not isinstance(operand.op, Broadcast):
            continue
        inner, axes = source(operand), operand.op.axes
        kept = [(d, axis) for d, axis in zip(inner.shape, axes) if d != 1 or operand.shape[axis] == 1]
        if len(kept) == operand.type.rank:
            continue
        operands[i] = reshape(b, inner, tuple(d for d, _ in kept))
        terms[i] = "".join(terms[i][axis] for _, axis in kept)
    if operands == [x, y]:
        return None
    return _contract_with_rest(b, terms, operands, op.terms, extents)


def _contract_with_rest(b: Builder, terms: list[str], operands: list[Value], old: tuple[str, str, str],
                        extents: dict[str, Dim]) -> Value | None:
    """The contraction by the first two `terms`, made equal to that of the `old` ones, of which letters are lost."""
    left, right, result = terms[0], terms[1], old[2]
    lost = [c for c in dict.fromkeys(old[0] + old[1]) if c not in left + right]
    factor = product(extents[c] for c in lost if c not in result)
    if not is_count(factor, operands[0].dtype):
        return None
    small = "".join(c for c in result if c not in lost)
    out = b.emit(_spec(left, right, small), *operands)
    if factor != 1:
        out = b.emit(Mul(), out, filled(b, out.type, factor))
    return broadcast(b, out, tuple(extents[c] for c in result), tuple(i for i, c in enumerate(result) if c in small))


@rule(Contract)
def contract_units(b: Builder, op, x, y):
    """contract(reshape(x), y) -> contract(x, y), where the reshape only adds axes of extent 1; they are added to the
    result."""
    terms, operands = list(op.terms), [x, y]
    extents = op.extents(x.type, y.type)
    for i, operand in enumerate(operands):
        if is_unit_reshape(operand) and operand.shape.count(1) > source(operand).shape.count(1):
            terms[i] = "".join(c for c, d in zip(terms[i], operand.shape) if d != 1)
            operands[i] = reshape(b, source(operand), without_units(operand.shape))
    if operands == [x, y]:
        return None
    left, right, result = terms[0], terms[1], op.terms[2]
    small = "".join(c for c in result if c in left + right)
    return reshape(b, b.emit(_spec(left, right, small), *operands), tuple(extents[c] for c in result))


@rule(Contract)
def contract_one(b: Builder, op, x, y):
    """contract(x, y) -> contract(reshape(x), reshape(y)) without the summed letters of extent 1."""
    extents = op.extents(x.type, y.type)
    units = [c for c in op.summed if extents[c] == 1]
    if not units:
        return None
    left, right = ("".join(c for c in letters if c not in units) for letters in op.terms[:2])
    smaller = (reshape(b, o, tuple(extents[c] for c in letters)) for o, letters in ((x, left), (y, right)))
    return b.emit(_spec(left, right, op.terms[2]), *smaller)


@rule(Contract)
def contract_nothing(b: Builder, op, x, y):
    """contract(x, y) -> x * y, with broadcasts, where no letter is summed."""
    left, right, result = op.terms
    if op.summed or op.summed_alone:
        return None
    extents = op.extents(x.type, y.type)
    shape = tuple(extents[c] for c in result)

    def placed(operand: Value, letters: str) -> Value:
        order = tuple(sorted(range(len(letters)), key=lambda i: result.index(letters[i])))
        return broadcast(b, b.emit(Transpose(order), operand), shape, tuple(result.index(letters[i]) for i in order))
    return b.emit(Mul(), placed(x, left), placed(y, right))


@rule(Contract)
def sum_before_contract(b: Builder, op, x, y):
    """contract(x, y) -> contract(sum(x), y), where a letter of x is neither y's nor the result's."""
    if not op.summed_alone:
        return None
    terms, operands = list(op.terms), [x, y]
    for i in range(2):
        axes = tuple(axis for axis, c in enumerate(terms[i]) if c in op.summed_alone)
        operands[i] = b.emit(Reduce("sum", axes), operands[i]) if axes else operands[i]
        terms[i] = "".join(c for c in terms[i] if c not in op.summed_alone)
    return b.emit(_spec(*terms), *operands)


@rule(Reduce)
def sum_contracted(b: Builder, op, x):
    """sum(contract(x, y)) -> contract(x, y) without the summed letters in its result."""
    if op.kind != "sum" or not isinstance(x.op, Contract) or not used_once(b, x):
        return None
    left, right, result = x.op.terms
    return b.emit(_spec(left, right, "".join(c for i, c in enumerate(result) if i not in op.axes)), *x.node.operands)
