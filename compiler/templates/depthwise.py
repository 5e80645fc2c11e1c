"""How does a depthwise convolution become a kernel?  Channels are the lanes; a few neighbouring pixels share their loads.

Each output pixel is a sum over the window's taps, all in registers. The input's border is laid out by the planner, so no tap is
tested.
"""

from __future__ import annotations

from ..core.dims import Dim, nominal, product
from ..core.schedule import Schedule
from ..graph.graph import Graph, Node
from ..kernel.builder import BlockBuilder, Expr, add, as_expr, binary, cast, constant, floordiv, load, mod, mul
from ..kernel.ir import Buffer, Kernel
from ..lower.elements import Elements
from ..lower.loops import CHUNK_WORK, group_symbols
from ..ops.conv import Conv
from ..targets.target import Target
from .epilogue import open_group, store_results
from .problem import find_main

MOST_UNROLLED_TAPS = 64
FAR = 8  # times the second-level cache: inputs beyond come from memory, and the next pixels of a line are asked for


def is_depthwise(node: Node) -> bool:
    """Whether every channel is convolved with its own window alone, without zeros between inputs."""
    return (isinstance(node.op, Conv) and node.op.groups > 1 and node.op.groups == node.results[0].shape[-1]
            and node.operands[1].shape[-2] == 1 and all(d == 1 for d in node.op.input_dilation))


def lower_depthwise(body: Graph, params: list[Buffer], results: list[Buffer], target: Target, name: str,
                    schedule: Schedule = Schedule()) -> Kernel:
    """The kernel of a group around a depthwise convolution of any number of spatial dims, its padding made before."""
    node = find_main(body)
    op, shape = node.op, node.results[0].shape
    buffers = dict(zip(body.params, params))
    own, outs, block, elements = open_group(body, params, results)
    x, w = (buffers[o] for o in node.operands)
    dtype = node.results[0].dtype.compute
    lanes = target.lanes(dtype)
    rank, channels = len(op.strides), shape[-1]
    kernel_shape, last = w.shape[:rank], shape[-2]
    most = 8 if target.vector_registers >= 32 else 4
    pixels = schedule.rows or (most if not isinstance(last, int) else -(-last // -(-last // most)))
    is_far = nominal(product(x.shape)) * x.dtype.itemsize > FAR * target.l2_bytes
    new_rows: list[Dim] = [0]  # where the rows of a window begin that the line of outputs before has not read
    if rank > 1:
        reach = (kernel_shape[-2] - 1) * op.dilation[-2]
        new_rows = [(reach - i) * x.strides[-3] for i in range(min(op.strides[-2], reach + 1))]
    taps = [()]
    for extent in kernel_shape:
        taps = [(*t, i) for t in taps for i in range(extent)]

    def one_group(line: list[Expr], start: Expr, count: int) -> None:
        """`count` pixels of a line from `start`, all channels."""
        origin: Expr = mul(line[0], as_expr(x.strides[0]))
        for axis in range(rank - 1):
            origin = add(origin, mul(line[axis + 1], as_expr(x.strides[axis + 1] * op.strides[axis])))
        origin = block.let("x", add(origin, mul(start, as_expr(x.strides[rank] * op.strides[-1]))))
        with block.loop("c", channels, "vector", lanes) as c:
            elements.enter()
            accumulators = []
            for _ in range(count):
                acc = block.alloc("acc", dtype, (), "register")
                block.store(acc, (), constant(0, dtype))
                accumulators.append(acc)
            here = block.let("x", add(origin, mul(c, as_expr(x.strides[-1]))))
            weight_base = mul(c, as_expr(w.strides[-1]))
            read: dict = {}
            for offset in new_rows if is_far else ():
                for pixel in range(count * op.strides[-1], 2 * count * op.strides[-1]):
                    block.prefetch(own[node.operands[0]], (add(here, as_expr(pixel * x.strides[rank] + offset)),))

            def tap(offsets: tuple) -> None:
                place: Expr = weight_base
                for i, stride in zip(offsets, w.strides):
                    place = add(place, mul(as_expr(i), as_expr(stride)))
                weight = block.let("w", cast(dtype, load(own[node.operands[1]], (place,))))
                for p, acc in enumerate(accumulators):
                    moved: Expr = as_expr(p * op.strides[-1])
                    offset: Expr = mul(moved, as_expr(x.strides[rank]))
                    for i, stride, dilation in zip(offsets, x.strides[1:], op.dilation):
                        offset = add(offset, mul(as_expr(i), as_expr(stride * dilation)))
                    key = offset.value if hasattr(offset, "value") else id(offset)
                    if key not in read:
                        read[key] = cast(dtype, load(own[node.operands[0]], (add(here, offset),)))
                    block.accumulate(acc, (), "add", binary("mul", read[key], weight))
            if len(taps) <= MOST_UNROLLED_TAPS:
                for offsets in taps:
                    tap(offsets)
            else:
                def nest(offsets: tuple) -> None:
                    if len(offsets) == rank:
                        read.clear()
                        tap(offsets)
                        return
                    with block.loop("k", kernel_shape[len(offsets)]) as k:
                        nest((*offsets, k))
                nest(())
            for p, acc in enumerate(accumulators):
                store_results(block, elements, body, {node.results[0]: load(acc, ())}, results, outs, (*line, add(start, p), c))
            elements.leave()

    lines: Dim = shape[0]
    for extent in shape[1:-2]:
        lines = lines * extent
    work = nominal(last) * nominal(channels) * len(taps)
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


def pixel_groups(block: BlockBuilder, elements: Elements, extent: Dim, size: int, visit) -> None:
    """`visit(start, count)` in loops over a line: groups of `size`, and the rest in one shorter group, or one by one."""
    whole = extent // size
    with block.loop("group", whole) as number:
        elements.enter()
        visit(block.let("start", mul(number, size)), size)
        elements.leave()
    if isinstance(extent, int):
        if extent % size:
            elements.enter()
            visit(as_expr(extent - extent % size), extent % size)
            elements.leave()
        return
    with block.loop("rest", extent - whole * size) as number:
        elements.enter()
        visit(block.let("start", add(mul(as_expr(whole), size), number)), 1)
        elements.leave()
