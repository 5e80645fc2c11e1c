"""How are lanes gathered from registers?  Whole tiles are transposed by unpacking, other patterns merge vectors two at
a time."""

from __future__ import annotations

from ...core.errors import CompilerError
from .emitter import Emitter
from .values import Val

#: x86 shuffles stay within blocks of so many bits, or move whole blocks; all vectors of SSE and Arm are one.
BLOCK_BITS = 128


def gather_lanes(e: Emitter, slots: dict[int, Val], offsets: list[int], name: str) -> Val:
    """The elements of a register buffer at `offsets`, one for each lane. `slots` are its vectors by the offset of their
    first lane."""
    sources = [_find(slots, offset, name) for offset in offsets]
    starts, lanes = [s for s, _ in sources], len(offsets)
    first = slots[starts[0]]
    if first.lanes == lanes and sources == [(starts[0], lane) for lane in range(lanes)]:
        return first
    vectors = list(dict.fromkeys(starts))
    if any(slots[s].lanes != first.lanes for s in vectors) or first.lanes == 1:
        raise CompilerError(f"lanes of register buffer {name!r} are read from values of different width")
    if len(vectors) == lanes == first.lanes and len({lane for _, lane in sources}) == 1 and lanes & (lanes - 1) == 0:
        return _transposed(e, [slots[s] for s in vectors])[sources[0][1]]
    return _merged(e, [slots[s] for s in vectors], [(vectors.index(s), lane) for s, lane in sources])


def _find(slots: dict[int, Val], offset: int, name: str) -> tuple[int, int]:
    for start, value in slots.items():
        if start <= offset < start + value.lanes:
            return start, offset - start
    raise CompilerError(f"element {offset} of register buffer {name!r} is read before it is set")


def shuffle(e: Emitter, x: Val, y: Val, mask: list[int | None]) -> Val:
    """Lanes of x (from 0) and y (from x.lanes on) by number; None leaves a lane open."""
    numbers = ", ".join("i32 poison" if m is None else f"i32 {m}" for m in mask)
    return e.value(f"shufflevector {x.type} {x.text}, {x.type} {y.text}, <{len(mask)} x i32> <{numbers}>", x.dtype,
                   len(mask), e.level)


def _merged(e: Emitter, vectors: list[Val], sources: list[tuple[int, int]]) -> Val:
    """Any pattern: the lanes of one vector after another are put in their places."""
    width, lanes = vectors[0].lanes, len(sources)
    if lanes > width and len(vectors) > 2:
        raise CompilerError("more lanes are read from a register buffer than its vectors have")
    mask = [lane + width * vector if vector < 2 else None for vector, lane in sources]
    result = shuffle(e, vectors[0], vectors[min(1, len(vectors) - 1)], mask + [None] * (width - lanes))
    for number in range(2, len(vectors)):
        mask = [i if vector < number else lane + width if vector == number else None
                for i, (vector, lane) in enumerate(sources)]
        result = shuffle(e, result, vectors[number], mask + [None] * (width - lanes))
    return result if lanes >= width else shuffle(e, result, result, list(range(lanes)))


def _transposed(e: Emitter, rows: list[Val]) -> list[Val]:
    """The columns of a square tile, made once."""
    key = ("transposed", *(r.text for r in rows))
    for frame in e.frames:
        if key in frame.memo:
            return frame.memo[key][0]
    n = len(rows)
    bits = max(8, rows[0].dtype.bits)
    block = min(n, BLOCK_BITS // bits)  # elements of a block
    vectors = rows
    size = 1  # rows that stand side by side in each vector
    while size < block:
        vectors = _unpack(e, vectors, size, block)
        size *= 2
    # vectors[g * block + c]: in block b, column b * block + c of the rows of group g
    columns: list[Val | None] = [None] * n
    for c in range(block):
        for b, column in enumerate(_transpose_blocks(e, [vectors[g * block + c] for g in range(n // block)], block)):
            columns[b * block + c] = column
    e.frames[e.level].memo[key] = (columns, None)
    return columns


def _unpack(e: Emitter, vectors: list[Val], size: int, block: int) -> list[Val]:
    """One round within blocks: runs of `size` rows become runs of twice the size. Vector k of a group of rows holds the
    k-th part of each block's columns, before and after."""
    n = len(vectors)
    result: list[Val] = []
    for base in range(0, n, 2 * size):
        for c in range(size):
            x, y = vectors[base + c], vectors[base + size + c]
            for half in range(2):
                mask = []
                for start in range(0, n, block):
                    for i in range(0, block // 2, size):
                        at = start + half * (block // 2) + i
                        mask += [*range(at, at + size), *range(n + at, n + at + size)]
                result.append(shuffle(e, x, y, mask))
    return result


def _transpose_blocks(e: Emitter, vectors: list[Val], block: int) -> list[Val]:
    """From m vectors of m blocks, m vectors: block g of vector b is block b of vector g."""
    m, n = len(vectors), len(vectors) * block
    if m == 1:
        return vectors

    def pick(x: Val, y: Val, blocks: list[int]) -> Val:
        return shuffle(e, x, y, [b * block + i for b in blocks for i in range(block)])
    if m == 2:
        return [pick(*vectors, [b, 2 + b]) for b in range(2)]
    if m != 4:
        raise CompilerError(f"no transposition of {n} lanes in blocks of {block}")
    halves = [pick(vectors[i], vectors[i + 1], [2 * h, 2 * h + 1, 4 + 2 * h, 5 + 2 * h]) for i in (0, 2)
              for h in range(2)]
    return [pick(halves[b // 2], halves[2 + b // 2], [b % 2, 2 + b % 2, 4 + b % 2, 6 + b % 2]) for b in range(4)]
