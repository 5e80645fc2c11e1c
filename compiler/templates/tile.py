"""Which register tile does a product use, and how is its work cut?  From the machine's table and the problem's extents."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.dims import Dim, nominal, product
from ..core.dtypes import DType
from ..core.errors import CompilerError
from ..core.schedule import Schedule
from ..graph.graph import Graph
from ..lower.loops import SLOW
from ..targets.target import Target
from .problem import Axis, Problem

LEAST_LINE = 10  # rows of a tile that lies within one line of the result; shorter lines are flattened
ENOUGH_ROWS = 4  # of a tile that is wide since its sums are short
IN_FLIGHT = 8  # accumulators that hide an addition's latency: four cycles, two units
UNIT_FLOPS = 1 << 18  # work that makes a unit worth handing to another thread
REGISTER_EPILOGUE = 4  # operations of an epilogue that are done on the tile in registers; longer ones use the stack
UNITS = 16  # units of work that a product is cut into, where it is large enough: enough to balance threads


@dataclass(frozen=True)
class Tile:
    """`rows` x `width` columns of accumulators (`vectors` of `lanes`)."""

    rows: int
    vectors: int
    lanes: int

    @property
    def width(self) -> int:
        return self.vectors * self.lanes


def choose_tile(rows: Dim, columns: Dim, dtype: DType, target: Target, sets: int = 1,
                schedule: Schedule = Schedule(), sums: int | None = None) -> Tile:
    """The tile for a product of this many rows and columns: accumulators, held vectors and one broadcast fill the registers.

    Few rows take the widest tiles that hold them, so that weights stream in long runs and many sums are in flight. So do
    short sums (`sums` long, where that is known), as far as a panel stays in the first cache: their results are stored
    more than they are computed, in longer runs. `sets` of accumulators are live at once. What `schedule` says of rows
    and vectors holds instead, as far as there are so many.
    """
    lanes = target.lanes(dtype)
    registers = target.vector_registers
    widest = -(-nominal(columns) // lanes)
    wanted = schedule.vectors or target.tile_vectors
    if schedule.vectors is None and isinstance(rows, int):
        fitting = (v for v in range(registers // 4, wanted, -1) if most_rows(v, registers, sets) >= rows)
        wanted = next(fitting, wanted if sums is None else _wide(sums, widest, dtype, target))
    vectors = max(1, min(wanted, widest))
    most = most_rows(vectors, registers, sets)
    usual = most if isinstance(rows, int) else min(most, target.tile_rows)
    return Tile(_height(rows, usual, most, schedule), vectors, lanes)


def _wide(sums: int, widest: int, dtype: DType, target: Target) -> int:
    """Vectors of a tile whose panel of `sums` steps stays in the first cache: all `widest` ones, or as many as leave
    registers for enough rows, in panels that are about equal."""
    held = target.l1_bytes // max(1, sums * target.vector_bytes)
    if widest <= min(target.vector_registers // 4, held):
        return widest
    wide = max(v for v in range(1, target.vector_registers) if most_rows(v, target.vector_registers) >= ENOUGH_ROWS)
    most = min(wide, held)
    if most <= target.tile_vectors:
        return widest if widest == target.tile_vectors + 1 else target.tile_vectors  # not a panel and a rest of one vector
    return -(-widest // -(-widest // most))


def packed_tile(rows: Dim, width: int, dtype: DType, target: Target, sets: int = 1,
                schedule: Schedule = Schedule()) -> Tile:
    """The tile of a product whose right operand lies in panels of `width` columns."""
    vectors = width // target.lanes(dtype)
    most = most_rows(vectors, target.vector_registers, sets)
    return Tile(_height(rows, most, most, schedule), vectors, target.lanes(dtype))


def _height(rows: Dim, usual: int, most: int, schedule: Schedule) -> int:
    """Rows of a tile: the `usual` ones or the schedule's, as far as there are so many; CompilerError beyond the `most`
    that the registers hold."""
    wanted = schedule.rows or usual
    height = max(1, min(wanted, rows)) if isinstance(rows, int) else wanted
    if height > most:
        raise CompilerError(f"a schedule asks for {height} rows where the registers hold {most} of that width",
                            hint="it was made for another target")
    return height


def choose_gate_tile(rows: Dim, units: Dim, gates: int, dtype: DType, target: Target,
                     schedule: Schedule = Schedule()) -> Tile | None:
    """The tile of a product whose columns are `gates` parts of `units` each: its `vectors` are those of one gate, and a tile holds
    the same units of all gates. None where the registers are too few for that."""
    lanes, registers = target.lanes(dtype), target.vector_registers
    most = (registers - gates - 1) // gates
    if most < 1:
        return None
    widest = -(-nominal(units) // lanes)
    size, vectors = min(most, target.tile_rows), 1
    if isinstance(rows, int):
        tiles = -(-rows // most)
        size = -(-rows // max(1, tiles))
        vectors = min(-(-IN_FLIGHT // (gates * max(1, size))), widest)
    if schedule.vectors is not None:
        vectors = max(1, min(schedule.vectors, widest))
    most = most_rows(gates * vectors, registers)
    return Tile(_height(rows, min(size, most), most, schedule), vectors, lanes)


def most_rows(vectors: int, registers: int, sets: int = 1) -> int:
    """Rows of `sets` of `vectors` accumulators that fit into the registers beside the held vectors and a broadcast."""
    return max(1, (registers - vectors - 1) // (vectors * sets))


def epilogue_cost(body: Graph) -> int:
    """Operations of a contraction group's epilogue, slow functions counted as several."""
    return sum(1 + 8 * (getattr(n.op, "kernel_op", "") in SLOW) for n in body.nodes if n.op.is_pointwise)


@dataclass(frozen=True)
class Rows:
    """How the rows are tiled: `lines` (axes that are decoded once a tile) of `inner` positions each, or flattened.

    Every line has `tiles` tiles, the first `larger` of `size` + 1 rows, the others of `size`: none much smaller than the rest.
    For a symbolic extent `size` is the tile's rows and the last tile is shorter.
    """

    lines: tuple[Axis, ...]
    inner: tuple[Axis, ...]
    extent: Dim
    tiles: Dim
    size: int
    larger: int
    is_static: bool

    @property
    def line_count(self) -> Dim:
        return product(a.extent for a in self.lines)


def tile_rows(problem: Problem, tile: Tile) -> Rows:
    axes = problem.rows or (Axis(1),)
    fixed = next(i for i in range(len(axes) + 1) if all(isinstance(a.extent, int) for a in axes[i:]))
    last = axes[-1].extent
    if len(axes) > 1 and isinstance(last, int) and -(-last // -(-last // tile.rows)) >= min(LEAST_LINE, tile.rows):
        split = len(axes) - 1
    elif 0 < fixed < len(axes) and nominal(product(a.extent for a in axes[fixed:])) >= LEAST_LINE:
        split = fixed  # a symbolic batch of fixed maps: each map is tiled alike
    else:
        split = 0
    lines, inner = axes[:split], axes[split:]
    extent = product(a.extent for a in inner)
    if not isinstance(extent, int):
        return Rows(lines, inner, extent, (extent + (tile.rows - 1)) // tile.rows, tile.rows, 0, False)
    tiles = -(-extent // tile.rows)
    return Rows(lines, inner, extent, tiles, extent // tiles, extent % tiles, True)
