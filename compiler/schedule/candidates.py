"""Which schedules could a group take?  The heuristic's own first, then few others, the cheapest by estimate first."""

from __future__ import annotations

from ..core.dims import nominal
from ..core.options import Options
from ..core.schedule import Schedule
from ..graph.graph import Graph, Node
from ..kernel.ir import Buffer, row_major
from ..ops.control import Fused
from ..ops.winograd import POINTS
from ..passes.weights import weight_params
from ..targets.target import Target
from ..templates.alternatives import problem_costs
from ..templates.depthwise import is_depthwise
from ..templates.gates import find_gates
from ..templates.narrow import narrow_layout
from ..templates.problem import find_main, make_problem
from ..templates.tile import choose_tile
from ..templates.winograd_cost import winograd_costs

MOST = 8  # of one group: more would take the time of other groups
TOO_SLOW = 2.0  # times the cheapest estimate, beyond which a candidate is not worth its time
UNITS = (1, 4, 64)  # parts of a product's work; the heuristic takes up to 16
INTERLEAVES = (1, 2, 4, 8)
PIXELS = (2, 3, 4, 6, 8, 12)  # of a depthwise or narrow convolution's tile
FEW_OPERATIONS = 1 << 20  # of a product that may be fastest on one thread


def candidates(group: Fused, constants: frozenset[int], target: Target, options: Options) -> list[Schedule]:
    """Schedules that the kernel of `group` can follow. `constants` numbers the operands that are constants."""
    if group.kind in ("loops", "reduction"):
        found = [Schedule(interleave=n) for n in INTERLEAVES]
    elif group.kind == "attention":
        found = [Schedule(vectors=v) for v in range(1, _most_vectors(target) + 1)]
        found += [Schedule(rows=r) for r in (target.tile_rows // 2, target.tile_rows // 4) if r]
    elif group.kind == "gated":
        gates = len(find_gates(group.body, find_main(group.body)))
        found = [Schedule(vectors=v) for v in range(1, (target.vector_registers - 1) // (2 * gates) + 1)]
    elif group.kind == "contraction":
        found = _products(group.body, constants, target, options)
    else:
        found = []
    return [Schedule(), *found][:MOST]


def _products(body: Graph, constants: frozenset[int], target: Target, options: Options) -> list[Schedule]:
    """The schedules of a product or convolution."""
    main = find_main(body)
    if is_depthwise(main) or _is_constant(main, body, constants) and narrow_layout(main, target) is not None:
        return [Schedule(rows=n) for n in PIXELS]
    is_constant = _is_constant(main, body, constants)
    if not is_constant and options.winograd and winograd_costs(main, False, target):
        return []  # the transform of its weights is a kernel of its own, whose time would be missing
    tiles = _tiles(body, is_constant, target)
    if is_constant and options.winograd:
        others = _winograd(main, target)
        if others:
            return others + [Schedule(winograd=0, vectors=s.vectors) for s in tiles]
    found = [] if is_constant else [Schedule(packs=True), Schedule(packs=False)]
    small = nominal(main.op.flops(*(o.type for o in main.operands))) <= FEW_OPERATIONS
    return [*found, *tiles[:3], *(Schedule(units=n) for n in UNITS if n > 1 or small), *tiles[3:]]


def _tiles(body: Graph, is_constant: bool, target: Target) -> list[Schedule]:
    """Register tiles of other widths than the heuristic's, as high as the registers allow."""
    buffers = {p: Buffer(f"in{i}", p.dtype, p.shape, row_major(p.shape), "in") for i, p in enumerate(body.params)}
    results = [Buffer(f"out{i}", r.dtype, r.shape, row_major(r.shape), "out") for i, r in enumerate(body.results)]
    problem = make_problem(body, buffers, results)
    dtype = problem.node.results[0].dtype.compute
    sums = nominal(problem.sum_count) if is_constant else None
    own = choose_tile(problem.row_count, problem.columns.extent, dtype, target, sums=sums)
    costs = problem_costs(problem, target, (own.rows, own.width))
    least, most = min(c.cycles for c in costs), -(-nominal(problem.columns.extent) // own.lanes)
    widths = [c.columns // own.lanes for c in costs[1:] if c.cycles <= TOO_SLOW * least]
    return [Schedule(vectors=v) for v in widths if v <= most]


def _winograd(main: Node, target: Target) -> list[Schedule]:
    """Winograd's algorithm on tiles of all sizes and panels of all widths, and the direct way; [] where it is none."""
    costs = {}
    for outputs in POINTS:
        for vectors in range(1, _most_vectors(target) + 1):
            schedule = Schedule(winograd=outputs, vectors=vectors)
            found = winograd_costs(main, True, target, schedule)
            costs |= {schedule: cost for transform, cost in found.items() if transform.outputs == outputs}
    if not costs:
        return []
    ordered = sorted(costs, key=costs.__getitem__)
    best = [next(s for s in ordered if s.winograd == m) for m in {s.winograd: None for s in ordered}]
    others = [s for s in ordered if s not in best and costs[s] <= TOO_SLOW * costs[ordered[0]]]
    return [*best, Schedule(winograd=0), *others[:MOST - len(best) - 4]]


def _is_constant(main: Node, body: Graph, constants: frozenset[int]) -> bool:
    """Whether one of the product's two operands is made of constants alone."""
    sides = (weight_params(main, side, body) for side in (1, 0))
    return any(numbers and constants.issuperset(numbers) for numbers in sides)


def _most_vectors(target: Target) -> int:
    return max(target.tile_vectors, target.vector_registers // 4)
