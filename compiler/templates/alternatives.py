"""What would other register tiles have cost a product?  An estimate of cycles, to be shown beside the tile that was
taken."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.dims import nominal
from ..graph.graph import Graph
from ..kernel.ir import Buffer
from ..targets.target import Target
from .problem import Problem, make_problem
from .tile import most_rows

FMA_LATENCY = 4  # cycles; on every core that the tables describe
PER_CYCLE = 2  # multiply-adds, and loads, that a core begins in a cycle


@dataclass(frozen=True)
class TileCost:
    """A tile of `rows` x `columns`, and the cycles of one core that the product is estimated to take with it: those of
    its multiply-adds or loads, whichever are more, of whole tiles, however many of their elements exist."""

    rows: int
    columns: int
    cycles: float


def tile_costs(body: Graph, params: list[Buffer], results: list[Buffer], target: Target,
               taken: tuple[int, int]) -> list[TileCost]:
    """The tile that was `taken` (rows, columns), and then those that were not, the cheapest first."""
    return problem_costs(make_problem(body, dict(zip(body.params, params)), results), target, taken)


def problem_costs(problem: Problem, target: Target, taken: tuple[int, int]) -> list[TileCost]:
    """The same for a problem."""
    dtype = problem.node.results[0].dtype.compute
    lanes = target.lanes(dtype)
    extents = tuple(map(nominal, (problem.row_count, problem.columns.extent, problem.sum_count)))
    repeats = nominal(problem.batch_count)

    def cost(rows: int, columns: int) -> TileCost:
        return TileCost(rows, columns, repeats * _cycles(rows, -(-columns // lanes), lanes, extents))
    widths = range(1, max(target.tile_vectors, target.vector_registers // 4) + 1)
    shapes = {(min(most_rows(v, target.vector_registers), extents[0]), v * lanes) for v in widths} - {taken}
    return [cost(*taken), *sorted((cost(*shape) for shape in shapes), key=lambda c: c.cycles)]


def _cycles(rows: int, vectors: int, lanes: int, extents: tuple[int, int, int]) -> float:
    height, width, depth = extents
    tiles = -(-height // rows) * -(-width // (vectors * lanes))
    step = max(rows * vectors / PER_CYCLE, (rows + vectors) / PER_CYCLE, FMA_LATENCY)
    return tiles * depth * step
