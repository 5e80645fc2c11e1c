"""How does a convolution with very few outputs become a kernel?  Lanes along the channels that it sums.

The register tile of other convolutions has output channels as lanes; of 3 outputs it would waste most. Here a tile is a
few neighbouring pixels by all outputs, each a vector of partial sums, which are added up across the lanes in the end.
"""

from __future__ import annotations

from ..core.dims import Dim, nominal, product
from ..core.schedule import Schedule
from ..graph.graph import Graph, Node
from ..kernel.builder import Expr, add, as_expr, binary, cast, constant, floordiv, load, mod, mul
from ..kernel.ir import Buffer, Kernel
from ..lower.loops import CHUNK_WORK, group_symbols
from ..ops.conv import Conv
from ..ops.pack import Unpack
from ..targets.target import Target
from .depthwise import MOST_UNROLLED_TAPS, pixel_groups
from .epilogue import open_group, store_results
from .problem import find_main
from .tile import REGISTER_EPILOGUE, epilogue_cost

MOST_OUTPUTS = 4
ACROSS = 16  # instructions that add up the lanes of a vector and pass the sum on


def narrow_cost(node: Node, target: Target) -> int | None:
    """Vector instructions for a pixel of the convolution `node` this way; None where outputs are many or sums short."""
    op, weights = node.op, node.operands[1].shape
    lanes = target.lanes(node.results[0].dtype)
    if not isinstance(op, Conv) or op.groups != 1 or any(d != 1 for d in op.input_dilation) or lanes < 4:
        return None
    if weights[-1] > MOST_OUTPUTS or weights[-2] < lanes:
        return None
    return weights[-1] * (product(weights[:-2]) * -(-weights[-2] // lanes) + ACROSS)


def narrow_layout(node: Node, target: Target) -> Unpack | None:
    """The weights' layout, each output's in one run, where this is the cheapest way for the convolution `node`."""
    cost, shape = narrow_cost(node, target), node.operands[1].shape
    if cost is None or cost >= product(shape[:-1]):
        return None
    letters = "uvwco"[3 - len(node.op.strides):]
    return Unpack(shape, shape, letters, "", letters[:-1], "o", 1)


def is_narrow(node: Node) -> bool:
    """Whether the convolution `node` has its weights laid out for this."""
    weights = node.operands[1].op
    return isinstance(node.op, Conv) and isinstance(weights, Unpack) and weights.width == 1


def lower_narrow(body: Graph, params: list[Buffer], results: list[Buffer], target: Target, name: str,
                 schedule: Schedule = Schedule()) -> Kernel:
    """The kernel of a group around such a convolution of any number of spatial dims, its padding made before."""
    node = find_main(body)
    op, shape = node.op, node.results[0].shape
    buffers = dict(zip(body.params, params))
    own, outs, block, elements = open_group(body, params, results)
    x, inputs = buffers[node.operands[0]], own[node.operands[0]]
    weights = own[node.operands[1].node.operands[0]]
    *window, channels, outputs = node.operands[1].shape
    dtype = node.results[0].dtype.compute
    lanes = target.lanes(dtype)
    rank, last, column = len(op.strides), shape[-2], product(window) * channels
    most = min(lanes, max(1, (target.vector_registers - outputs - 1) // outputs))
    pixels = schedule.rows or (most if not isinstance(last, int) else -(-last // -(-last // most)))

    def one_group(line: list[Expr], start: Expr, count: int) -> None:
        """`count` pixels of a line from `start`, all outputs."""
        origin: Expr = mul(line[0], as_expr(x.strides[0]))
        for axis in range(rank - 1):
            origin = add(origin, mul(line[axis + 1], as_expr(x.strides[axis + 1] * op.strides[axis])))
        origin = block.let("x", add(origin, mul(start, as_expr(x.strides[rank] * op.strides[-1]))))
        sums = block.alloc("sums", dtype, (outputs, count), "register")
        for o in range(outputs):
            for p in range(count):
                block.store(sums, (o, p), constant(0, dtype))
        with block.loop("c", channels, "vector", lanes) as c:
            def tap(offset: Expr, number: Expr) -> None:
                here = block.let("here", add(offset, mul(c, as_expr(x.strides[-1]))))
                at = block.let("at", add(mul(number, channels), c))
                held = [block.let("w", cast(dtype, load(weights, (add(at, o * column),)))) for o in range(outputs)]
                for p in range(count):
                    step = as_expr(p * op.strides[-1] * x.strides[rank])
                    value = block.let("v", cast(dtype, load(inputs, (add(here, step),))))
                    for o in range(outputs):
                        block.accumulate(sums, (o, p), "add", binary("mul", value, held[o]))

            def nest(depth: int, offset: Expr, number: Expr) -> None:
                if depth == rank:
                    tap(offset, number)
                    return
                step = as_expr(x.strides[depth + 1] * op.dilation[depth])
                if product(window) <= MOST_UNROLLED_TAPS:
                    for i in range(window[depth]):
                        nest(depth + 1, add(offset, mul(as_expr(i), step)), add(mul(number, window[depth]), i))
                    return
                with block.loop("k", window[depth]) as i:
                    nest(depth + 1, add(offset, mul(i, step)), add(mul(number, window[depth]), i))
            nest(0, origin, as_expr(0))
        finished = block.alloc("finished", dtype, (outputs, count), "stack")
        for o in range(outputs):
            for p in range(count):
                block.store(finished, (o, p), load(sums, (o, p)))
        with block.loop("o", outputs, "serial" if epilogue_cost(body) <= REGISTER_EPILOGUE else "apart") as o:
            elements.enter()
            with block.loop("p", count, "serial" if last == 1 else "vector", lanes) as p:
                elements.enter()
                made = {node.results[0]: load(finished, (o, p))}
                store_results(block, elements, body, made, results, outs, (*line, add(start, p), o))
                elements.leave()
            elements.leave()

    lines: Dim = shape[0]
    for extent in shape[1:-2]:
        lines = lines * extent
    work = nominal(last) * column * outputs
    with block.loop("line", lines, "parallel" if nominal(lines) * work > 4 * CHUNK_WORK and lines != 1 else "serial",
                    max(1, CHUNK_WORK // work)) as flat:
        line: list[Expr] = []
        rest: Expr = flat
        for extent in reversed(shape[1:-2]):
            line.insert(0, block.let("at", mod(rest, as_expr(extent))))
            rest = floordiv(rest, as_expr(extent))
        line.insert(0, block.let("at", rest))
        pixel_groups(block, elements, last, pixels, lambda start, count: one_group(line, start, count))
    return Kernel(name, (*own.values(), *outs), block.statements, tuple(group_symbols(body, *params, *results)))
