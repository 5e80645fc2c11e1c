"""Is a convolution cheaper by Winograd's algorithm, and on which tiles?  By an estimate of multiplications and weights."""

from __future__ import annotations

from ..core.dims import nominal, product
from ..core.dtypes import float32
from ..core.schedule import Schedule
from ..graph.graph import Node
from ..ops.conv import Conv
from ..ops.winograd import POINTS, TAPS, UnpackWinograd
from ..targets.target import Target
from .narrow import narrow_cost
from .winograd_tiling import tile_winograd

TRANSFORM_COST = 6  # instructions for each element of a tile's transform: loaded, combined along both axes, stored
BYTE_COST = 2  # multiplications that a core does while one byte of weights comes from memory


def choose_winograd(node: Node, is_constant: bool, target: Target,
                    schedule: Schedule = Schedule()) -> tuple[UnpackWinograd | None, str]:
    """(how the weights of the convolution `node` are transformed, why) where that is the cheapest way or the one that
    `schedule` takes, (None, why) where it is not. There is nothing to say ("") of convolutions that are not 3 x 3 over
    neighbouring pixels. Weights that are not `is_constant` are transformed in every run."""
    refusal = _refusal(node)
    if refusal is not None:
        return None, refusal
    direct, costs = _direct_cost(node, target), winograd_costs(node, is_constant, target, schedule)
    shown = ", ".join([f"direct {_millions(direct)}", *(f"{_name(t)} {_millions(c)}" for t, c in costs.items())])
    if schedule.winograd is not None:
        taken = next((t for t in costs if t.outputs == schedule.winograd), None)
        name = _name(taken) if taken else "the direct way"
        return taken, f"its schedule takes {name}; in millions of multiplications: {shown}"
    best = min(costs, key=costs.__getitem__, default=None)
    if best is None or costs[best] >= direct:
        return None, f"direct is the cheapest, in millions of multiplications: {shown}"
    return best, f"{_name(best)} is the cheapest, in millions of multiplications: {shown}"


def winograd_costs(node: Node, is_constant: bool, target: Target,
                   schedule: Schedule = Schedule()) -> dict[UnpackWinograd, int]:
    """Each way in which the weights of the convolution `node` can be transformed, with its cost in multiplications; {}
    where the algorithm is not for it."""
    if _refusal(node) is not None:
        return {}
    _, height, width, columns = node.results[0].shape
    across = _width(columns, target, schedule)
    transforms = [UnpackWinograd(node.operands[1].shape, m, across) for m in POINTS if min(height, width) >= m]
    return {transform: _cost(node, transform, target, schedule) + (0 if is_constant else _window_cost(transform))
            for transform in transforms}


def _refusal(node: Node) -> str | None:
    """Why Winograd's algorithm can't compute `node`; None where it can."""
    op = node.op
    if not isinstance(op, Conv) or node.operands[1].shape[:-2] != (TAPS, TAPS):
        return ""
    if any(s != 1 for s in (*op.strides, *op.dilation)):
        return ""
    if op.groups != 1:
        return "its groups have few channels each"
    if node.results[0].dtype != float32:
        return f"{node.results[0].dtype} is computed directly: the transforms' rounding is for float32"
    height, width, columns = node.results[0].shape[1:]
    if columns == 1:
        return "it has one output"
    if not isinstance(height, int) or not isinstance(width, int):
        return "the extents of its map are not fixed"
    return None


def _width(columns: int, target: Target, schedule: Schedule) -> int:
    """Columns of a panel: the register tile's, or as many vectors as there are."""
    lanes = target.vector_bytes // float32.itemsize
    return min(schedule.vectors or target.tile_vectors, -(-columns // lanes)) * lanes


def _direct_cost(node: Node, target: Target) -> int:
    shape = node.operands[1].shape
    pixels = nominal(product(node.results[0].shape[:-1]))
    each, narrow = _padded(shape, target), narrow_cost(node, target)
    if narrow is not None:
        each = min(each, narrow * target.lanes(float32))
    return pixels * each + BYTE_COST * float32.itemsize * product(shape)


def _padded(shape: tuple[int, ...], target: Target) -> int:
    """Elements of weights of `shape` where the columns fill whole vectors."""
    lanes = target.vector_bytes // float32.itemsize
    return product(shape[:-1]) * -(-shape[-1] // lanes) * lanes


def _cost(node: Node, transform: UnpackWinograd, target: Target, schedule: Schedule) -> int:
    *_, channels, columns = transform.shape
    points = (transform.outputs + TAPS - 1) ** 2
    tiling = tile_winograd(node.results[0].shape, transform, target, schedule)
    tiles = nominal(tiling.blocks) * tiling.tile.rows
    products = tiles * points * _padded((channels, columns), target)
    transforms = TRANSFORM_COST * nominal(tiling.tiles) * points * (channels + columns)
    return products + transforms + BYTE_COST * float32.itemsize * product(transform.packed_shape())


def _window_cost(transform: UnpackWinograd) -> int:
    """The product that transforms the windows, and writing what it makes."""
    return (TAPS * TAPS + BYTE_COST * float32.itemsize) * product(transform.packed_shape())


def _name(transform: UnpackWinograd) -> str:
    return f"F({transform.outputs}x{transform.outputs}, {TAPS}x{TAPS})"


def _millions(cost: int) -> str:
    return f"{cost / 1e6:.3g}"
