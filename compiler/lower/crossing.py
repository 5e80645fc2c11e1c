"""How does data cross over that is read along one axis and written along another?  In tiles that are turned in
registers.

A square tile is loaded by rows and stored by columns, so that both sides move whole vectors (transposes, permutations).
Where one of the two axes is short, its few vectors are taken apart or joined instead (planes of an image from pixels,
pixels from planes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from ..core.dims import Dim, bounds, ceil_div, nominal, product
from ..core.dtypes import DType, uint8
from ..graph.graph import Value
from ..kernel.builder import BlockBuilder, add, as_expr, cast, floordiv, load, minimum, mod, mul, sub
from ..kernel.ir import Buffer, Expr
from ..kernel.nest import spread
from ..targets.target import Target
from .elements import Elements, computed

SMALLEST = 4  # rows of a square tile
FEW_VECTORS = 4  # an axis of up to so many elements is taken apart or joined
TILES = 4  # tiles of a block, along each of the two axes: pages and cache lines that one chunk touches are used up
LEAST_SIZE = 1 << 8  # elements of a nest for which it is worth the code


@dataclass(frozen=True)
class Crossing:
    """Reads are side by side along `read` (the number of a run of axes), writes along `write`. `kind` is "square",
    "apart" (the reads' run is short) or "joined" (the writes' run is short); `tile` is the number of lanes."""

    kind: str
    read: int
    write: int
    tile: int


@dataclass(frozen=True)
class Access:
    """A load or store: its buffer, and the step of the flat index for each run of axes, with the rest under None."""

    buffer: Buffer
    steps: dict[int | None, Dim]

    def place(self, starts: Sequence[Expr]) -> Expr:
        """The flat index where each run is at `starts`."""
        total: Expr = as_expr(self.steps.get(None, 0))
        for run, start in enumerate(starts):
            total = add(total, mul(start, as_expr(self.steps.get(run, 0))))
        return total


def find_crossing(extents: Sequence[Dim], loads: list[Access | None], stores: list[Access | None],
                  target: Target) -> Crossing | None:
    """The crossing of a nest over runs of `extents`; None where reads and writes go along the same run, or along
    several."""
    if None in loads or None in stores or not loads:
        return None
    units = [r for r in range(len(extents)) if all(s.steps.get(r, 0) == 1 for s in stores)]
    if len(units) != 1 or nominal(product(extents)) < LEAST_SIZE:
        return None
    write = units[0]
    crossing = crossing_loads(loads, write)
    reads = [r for r in range(len(extents)) if r != write and crossing
             and all(a.steps.get(r, 0) == 1 for a in crossing)]
    if len(reads) != 1 or len({id(a.buffer) for a in crossing}) < len(crossing):
        return None
    read = reads[0]
    size = max(a.buffer.dtype.itemsize for a in (*crossing, *stores))
    lanes = max(min(16, target.vector_bytes // size, max(8, target.vector_registers // 2)), 2)
    few_reads, few_writes = (isinstance(extents[r], int) and extents[r] <= FEW_VECTORS for r in (read, write))
    is_long = {r: bounds(extents[r])[0] >= lanes for r in (read, write)}
    if few_reads and is_long[write] and all(a.steps.get(write, 0) == extents[read] for a in crossing):
        found, cut = Crossing("apart", read, write, lanes), (write,)
    elif few_writes and is_long[read] and all(s.steps.get(read, 0) == extents[write] for s in stores):
        found, cut = Crossing("joined", read, write, lanes), (read,)
    else:
        tile = lanes
        while tile > min(bounds(extents[read])[0], bounds(extents[write])[0]):
            tile //= 2
        if tile < SMALLEST:
            return None
        found, cut = Crossing("square", read, write, tile), (read, write)
    is_even = all(isinstance(extents[r], int) and extents[r] % found.tile == 0 for r in cut)
    return found if is_even or not any(_in_step(a, s) for a in loads for s in stores) else None


def _in_step(load: Access, store: Access) -> bool:
    """Whether a result may stand where this operand stood: then no element may be computed twice, as tiles at an end
    do."""
    return load.buffer.dtype.itemsize == store.buffer.dtype.itemsize and all(
        load.steps.get(r, 0) == step for r, step in store.steps.items() if r is not None)


def crossing_loads(loads: list[Access], write: int) -> list[Access]:
    """The loads that do not move in step with stores along run `write`."""
    return [a for a in loads if a.steps.get(write, 0) not in (0, 1)]


class CrossingNest:
    """The loops of a nest that crosses over. `position` gives the index for places on all runs."""

    def __init__(self, crossing: Crossing, elements: Elements, extents: Sequence[Dim], cost: int,
                 loads: list[tuple[Value, Buffer, Access]],
                 stores: list[tuple[Value, Buffer, Access]], position, block: BlockBuilder):
        self.crossing, self.elements, self.extents, self.cost, self.block = crossing, elements, extents, cost, block
        self.loads, self.stores, self.position = loads, stores, position

    def emit(self) -> None:
        emit = {"square": self._square, "apart": self._apart, "joined": self._joined}[self.crossing.kind]
        c = self.crossing
        cut = {"square": (c.read, c.write), "apart": (c.write,), "joined": (c.read,)}[c.kind]
        whole = {"square": (), "apart": (c.read,), "joined": (c.write,)}[c.kind]
        runs = [r for r in range(len(self.extents)) if r not in (*cut, *whole)]
        tiles = [ceil_div(self.extents[r], c.tile) for r in cut]
        together = TILES if len(cut) == 2 else TILES * TILES
        blocks = [ceil_div(t, together) for t in tiles]
        work = together ** len(cut) * c.tile ** len(cut) * nominal(product(self.extents[r] for r in whole)) * self.cost
        outer = [(r, self.extents[r]) for r in runs]
        inner = [(r, b) for r, b in zip(cut, blocks)]
        if c.kind == "square" and runs and all(a.steps.get(runs[-1], 0) == self.extents[c.read] for _, _, a in self.loads):
            outer.insert(-1, inner.pop())  # operands are read on and on, as memory gives them best
        with spread(self.block, [extent for _, extent in (*outer, *inner)], work) as index:
            places = {run: at for (run, _), at in zip((*outer, *inner), index)}
            starts: list[Expr] = [places[r] if r in runs else as_expr(0) for r in range(len(self.extents))]

            def nest(number: int) -> None:
                if number == len(cut):
                    emit(list(starts))
                    return
                run, at = cut[number], places[cut[number]]
                left = sub(as_expr(tiles[number]), mul(at, together))
                count = minimum(left, together) if tiles[number] != 1 else as_expr(1)
                with self.block.loop("tile", self.block.let("tiles", count)) as t:
                    # The last tile lies against the end: what it shares with the one before is written twice.
                    first = mul(add(mul(at, together), t), c.tile)
                    starts[run] = self.block.let("start", minimum(first, as_expr(self.extents[run] - c.tile)))
                    nest(number + 1)
            nest(0)

    # ---- tiles -------------------------------------------------------------------------------------------------------
    def _load_tiles(self, starts: list[Expr], vectors: int, step) -> list[tuple[Value, Buffer, Buffer]]:
        """(operand, its buffer, a tile of it) for each crossing operand; vector i of a tile begins `step(access)` * i
        further on."""
        n, tiles = self.crossing.tile, []
        for value, buffer, access in self.loads:
            tile = self._tile(buffer.dtype, vectors)
            with self.block.loop("i", vectors, "unroll") as i, self.block.loop("l", n, "vector", n) as lane:
                at = add(add(access.place(starts), mul(i, as_expr(step(access)))), lane)
                self.block.store(tile, (i, lane), cast(tile.dtype, load(access.buffer, (at,))))
            tiles.append((value, buffer, tile))
        return tiles

    def _tile(self, dtype: DType, vectors: int) -> Buffer:
        return self.block.alloc("tile", uint8 if dtype.is_bool else dtype, (vectors, self.crossing.tile), "register")

    def _square(self, starts: list[Expr]) -> None:
        n, read, write = self.crossing.tile, self.crossing.read, self.crossing.write
        tiles = self._load_tiles(starts, n, lambda access: access.steps.get(write, 0))
        with self.block.loop("j", n, "unroll") as j:
            here = list(starts)
            here[read] = add(here[read], j)
            self._from_tiles(tiles, lambda lane: (lane, j), here, write)

    def _apart(self, starts: list[Expr]) -> None:
        n, read, write = self.crossing.tile, self.crossing.read, self.crossing.write
        count = self.extents[read]
        tiles = self._load_tiles(starts, count, lambda access: n)
        with self.block.loop("j", count, "unroll") as j:
            here = list(starts)
            here[read] = j

            def slot(lane: Expr) -> tuple[Expr, Expr]:
                flat = add(mul(lane, count), j)
                return floordiv(flat, n), mod(flat, n)
            self._from_tiles(tiles, slot, here, write)

    def _from_tiles(self, tiles, slot, starts: list[Expr], run: int) -> None:
        """One vector of each result, its crossing operands read across their tiles."""
        with self.block.loop("l", self.crossing.tile, "vector", self.crossing.tile) as lane:
            self.elements.enter()
            for value, buffer, tile in tiles:
                def read(index, dtype=buffer.dtype, tile=tile):
                    return cast(dtype.compute, cast(dtype, load(tile, slot(lane))))
                self.elements.computed[value] = read
            here = list(starts)
            here[run] = add(here[run], lane)
            index = self.position(here)
            values = computed(self.block, [self.elements.at(value, index) for value, _, _ in self.stores])
            for (_, _, access), value in zip(self.stores, values):
                self.block.store(access.buffer, (access.place(here),), value)
            self.elements.leave()

    def _joined(self, starts: list[Expr]) -> None:
        n, read, write = self.crossing.tile, self.crossing.read, self.crossing.write
        count = self.extents[write]
        tiles = [self._tile(buffer.dtype, count) for _, buffer, _ in self.stores]
        with self.block.loop("i", count, "unroll") as i:
            with self.block.loop("l", n, "vector", n) as lane:
                self.elements.enter()
                here = list(starts)
                here[read], here[write] = add(here[read], lane), i
                index = self.position(here)
                for (value, buffer, _), tile in zip(self.stores, tiles):
                    element = cast(buffer.dtype, self.elements.at(value, index))
                    self.block.store(tile, (i, lane), element)
                self.elements.leave()
        with self.block.loop("j", count, "unroll") as j:
            with self.block.loop("l", n, "vector", n) as lane:
                flat = add(mul(j, n), lane)
                for (_, buffer, access), tile in zip(self.stores, tiles):
                    self.block.store(access.buffer, (add(access.place(starts), flat),),
                                     cast(buffer.dtype, load(tile, (mod(flat, count), floordiv(flat, count)))))
