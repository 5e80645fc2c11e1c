"""Sequences and optionals: Python lists while importing. Their lengths and the positions asked for must be known."""

from __future__ import annotations

import numpy as np

from ... import array as lm
from ..table import Refusal, Sequenced, operator
from .shape import concat, piece, squeeze_1
from .values import axis_of, known


def _position(at, length: int, what: str = "the position") -> int:
    at = int(known(at, what).reshape(()))
    if not -length <= at <= length:
        raise Refusal(f"position {at} of a sequence of {length}")
    return at


@operator("SequenceConstruct", 11)
def sequence_construct(*xs):
    return Sequenced(xs)


@operator("SequenceEmpty", 11, ignored=("dtype",))
def sequence_empty():
    return Sequenced()


@operator("SequenceInsert", 11)
def sequence_insert(sequence, x, at=None):
    at = len(sequence) if at is None else _position(at, len(sequence))
    at = at + len(sequence) if at < 0 else at
    return Sequenced([*sequence[:at], x, *sequence[at:]])


@operator("SequenceErase", 11)
def sequence_erase(sequence, at=None):
    at = _position(at, len(sequence)) if at is not None else -1
    at = at + len(sequence) if at < 0 else at
    return Sequenced([*sequence[:at], *sequence[at + 1:]])


@operator("SequenceAt", 11)
def sequence_at(sequence, at):
    return sequence[_position(at, len(sequence))]


@operator("SequenceLength", 11)
def sequence_length(sequence):
    return np.asarray(len(sequence), np.int64)


@operator("SplitToSequence", 11)
def split_to_sequence(x, split=None, *, axis=0, keepdims=1):
    axis = axis_of(axis, x)
    extent = x.shape[axis]
    if not isinstance(extent, int):
        raise Refusal(f"an axis of the symbolic extent {extent} can't be split into a sequence")
    sizes = [1] * extent if split is None else known(split, "split")
    if isinstance(sizes, np.ndarray) and sizes.ndim == 0:
        each = int(sizes)
        sizes = [min(each, extent - start) for start in range(0, extent, each)]
    starts = np.cumsum([0, *sizes])
    parts = [piece(x, axis, int(start), int(size)) for start, size in zip(starts, sizes)]
    return Sequenced(parts if keepdims or split is not None else [squeeze_1(p, axes=(axis,)) for p in parts])


@operator("ConcatFromSequence", 11)
def concat_from_sequence(sequence, *, axis, new_axis=0):
    return lm.stack(list(sequence), axis=axis) if new_axis else concat(*sequence, axis=axis)


@operator("SequenceMap", 17)
def sequence_map(sequence, *others, body, context):
    """`body` for every element; the other sequences go along, tensors are given to each call."""
    run = context.importer.body(body, context.scope, context.name)
    results = [run(x, *(o[i] if isinstance(o, Sequenced) else o for o in others)) for i, x in enumerate(sequence)]
    return tuple(Sequenced(r[i] for r in results) for i in range(context.outputs))


@operator("Optional", 15, ignored=("type",))
def optional(x=None):
    return Sequenced() if x is None else x


@operator("OptionalHasElement", 15)
def optional_has_element(x=None):
    return np.asarray(x is not None)


@operator("OptionalGetElement", 15)
def optional_get_element(x):
    return x
