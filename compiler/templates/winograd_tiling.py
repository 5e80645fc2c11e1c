"""How are the tiles of a Winograd convolution cut into blocks?  As many as a register tile has rows each."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.dims import Dim, nominal
from ..core.dtypes import float32
from ..core.schedule import Schedule
from ..ops.winograd import UnpackWinograd
from ..targets.target import Target
from .tile import UNITS, Tile, most_rows, packed_tile

LEAST_STREAMED = 8  # blocks that are enough for threads to share; of fewer, the panels are shared too


@dataclass(frozen=True)
class Tiling:
    """`tiles` of a map in `blocks` of `tile.rows`; channels in `panels` of `tile.width`.

    Streamed, each of `slices` of the workspace holds the transforms of `blocks_in_slice` blocks, one after another; else
    each block has a slice of its own.
    """

    tile: Tile
    tiles: Dim
    panels: int
    blocks: Dim
    slices: Dim
    blocks_in_slice: Dim
    is_streamed: bool


def tile_winograd(result: tuple[Dim, ...], op: UnpackWinograd, target: Target,
                  schedule: Schedule = Schedule()) -> Tiling:
    """The tiling of a convolution with this result [N, H, W, K] and its weights in panels as `op` says.

    Blocks are as large as the registers allow and about alike, so that little is computed for tiles that do not exist.
    """
    images, height, width, columns = result
    tiles = images * (-(-height // op.outputs) * -(-width // op.outputs))
    lanes = target.lanes(float32)
    vectors = op.width // lanes
    most = target.tile_rows if vectors >= target.tile_vectors else most_rows(vectors, target.vector_registers)
    count = max(1, nominal(tiles))
    rows = -(-count // -(-count // most))
    if schedule.rows is not None:
        rows = packed_tile(count, op.width, float32, target, schedule=schedule).rows
    blocks = (tiles + (rows - 1)) // rows
    is_streamed = nominal(blocks) >= LEAST_STREAMED
    per = (blocks + (UNITS - 1)) // UNITS if is_streamed else 1
    slices = -(-blocks // per) if isinstance(blocks, int) else UNITS if is_streamed else blocks
    return Tiling(Tile(rows, vectors, lanes), tiles, -(-columns // op.width), blocks, slices, per, is_streamed)
