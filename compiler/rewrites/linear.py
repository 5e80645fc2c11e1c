"""Which constants go into weights?  Scales before and after a contraction or convolution with constant weights, and
biases behind it.

Batch normalization at inference is such a scale and bias: its scale folds into the weights, its bias joins the layer's
own. All of this is exact but for rounding.
"""

from __future__ import annotations

import numpy as np

from ..graph.builder import Builder
from ..graph.graph import Value
from ..ops.constants import constant_part, is_constant
from ..ops.constant import Constant
from ..ops.contract import Contract
from ..ops.conv import Conv
from ..ops.elementwise import Add, Div, Mul, Neg
from .rule import rule, used_once


def weight_position(x: Value) -> int | None:
    """Which operand of the Contract or Conv that makes x is constant weights; None where there is no such op or
    operand."""
    if isinstance(x.op, Conv):
        return 1 if isinstance(x.node.operands[1].op, Constant) else None
    if isinstance(x.op, Contract):
        return next((i for i in (1, 0) if isinstance(x.node.operands[i].op, Constant)), None)
    return None


def _axis_names(op: Contract | Conv, rank: int) -> tuple[str, str, str]:
    """A letter for each axis of the left operand, the right operand and the result: axes of one letter are scaled
    alike."""
    if isinstance(op, Contract):
        return op.terms
    batch_and_space, kernel = "abcdefgh"[:rank - 1], "ABCDEFGH"[:rank - 2]
    inputs = "I" if op.groups == 1 else "i"  # a group's weights see a part of the channels: no axis is the inputs'
    return batch_and_space + inputs, kernel + "IO", batch_and_space + "O"


def _scaled(b: Builder, weights: Value, letters: str, factor: Value, factor_letters: str,
            op: Mul | Div) -> Value | None:
    """weights * factor (or / factor), where each axis along which the constant `factor` varies is one of the weights'.
    """
    array, axes = constant_part(factor)
    names = [factor_letters[axis] for d, axis in zip(array.shape, axes) if d != 1]
    if any(name not in letters for name in names):
        return None
    order = sorted(range(len(names)), key=lambda i: letters.index(names[i]))
    squeezed = array.reshape([d for d in array.shape if d != 1]).transpose(order)
    aligned = squeezed.reshape([weights.shape[i] if name in names else 1 for i, name in enumerate(letters)])
    old = weights.op
    with np.errstate(all="ignore"):
        (new,) = op.evaluate(old.array, np.broadcast_to(aligned, old.array.shape))
    if new.dtype.kind not in "iub" and not np.all(np.isfinite(new.astype(np.float64))):
        return None
    return b.constant(new, old.label)


def _scale_weights(b: Builder, op: Mul | Div, x: Value, c: Value) -> Value | None:
    """The Contract or Conv that makes x with its constant weights times (or divided by) c."""
    position = weight_position(x)
    if position is None or not is_constant(c) or isinstance(op, Div) and not x.dtype.is_float:
        return None
    names = _axis_names(x.op, x.type.rank)
    operands = list(x.node.operands)
    scaled = _scaled(b, operands[position], names[position], c, names[2], op)
    if scaled is None:
        return None
    operands[position] = scaled
    return b.emit(x.op, *operands)


@rule(Mul, Div)
def scale_weights(b: Builder, op, x, c):
    """contract(x, w) * c -> contract(x, w * c), conv(x, w) * c -> conv(x, w * c): constants w, and c for each output or
    for all."""
    return _scale_weights(b, op, x, c) if used_once(b, x) else None


@rule(Neg)
def negate_weights(b: Builder, op, x):
    """-contract(x, w) -> contract(x, -w) for constant w, and so for conv."""
    position = weight_position(x)
    if position is None or not used_once(b, x):
        return None
    operands = list(x.node.operands)
    operands[position] = b.emit(Neg(), operands[position])
    return b.emit(x.op, *operands)


@rule(Contract, Conv)
def scale_weights_by_input(b: Builder, op, x, y):
    """contract(x * c, w) -> contract(x, w * c), conv(x * c, w) -> conv(x, w * c): constants w, and c for each input or
    for all."""
    operands = [x, y]
    for position in (1, 0) if isinstance(op, Contract) else (1,):
        other = operands[1 - position]
        if not isinstance(operands[position].op, Constant) or not isinstance(other.op, Mul):
            continue
        names = _axis_names(op, x.type.rank)
        inner, c = other.node.operands
        if not is_constant(c):
            continue
        scaled = _scaled(b, operands[position], names[position], c, names[1 - position], Mul())
        if scaled is not None:
            operands[position], operands[1 - position] = scaled, inner
            return b.emit(op, *operands)
    return None


@rule(Mul, Div)
def scale_biased(b: Builder, op, x, c2):
    """(contract(x, w) + c1) * c2 -> contract(x, w) * c2 + c1 * c2, so that c2 can go into w; and so for / c2, and for
    conv."""
    if not isinstance(x.op, Add) or not is_constant(c2) or not x.dtype.is_float or not used_once(b, x):
        return None
    product, c1 = x.node.operands
    if not is_constant(c1) or weight_position(product) is None or not used_once(b, product, x.node):
        return None
    scaled = _scale_weights(b, op, product, c2)
    bias = b.emit(op, c1, c2)
    return b.emit(Add(), scaled, bias) if scaled is not None and is_constant(bias) else None


@rule(Add)
def join_biases(b: Builder, op, x, c2):
    """(contract(x, w) + c1) + c2 -> contract(x, w) + (c1 + c2), and so for conv."""
    if not isinstance(x.op, Add) or not is_constant(c2) or not isinstance(x.node.operands[0].op, (Contract, Conv)):
        return None
    product, c1 = x.node.operands
    if not is_constant(c1):
        return None
    bias = b.emit(Add(), c1, c2)
    return b.emit(Add(), product, bias) if is_constant(bias) else None
