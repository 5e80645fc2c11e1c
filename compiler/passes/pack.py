"""Which weights are packed while compiling?  Constant operands of contractions, into the layout that their kernel wants."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from ..core.dtypes import as_dtype
from ..core.options import Options
from ..core.remarks import Remarks
from ..core.types import TensorType
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, map_subgraphs
from ..ops.constant import Constant
from ..ops.control import Cond, Fused, Scan, While
from ..ops.pack import Unpack, aligned_empty
from ..ops.winograd import UnpackWinograd
from ..targets.target import Target
from ..templates.depthwise import is_depthwise
from ..templates.gates import find_gates
from ..templates.problem import find_main
from ..templates.winograd_cost import choose_winograd
from .pack_captured import pack_captured
from .transform_windows import transform_windows
from .weights import WEIGHTED, layout_of, weight_layout, weight_params, with_unpacks


SMALL = 1 << 14  # bytes of weights that are packed at once; larger ones by threads, while the pass goes on


def pack_weights(graph: Graph, target: Target, options: Options, remarks: Remarks) -> Graph:
    """`graph` with the constant operands of its contraction groups in panels of their kernel's width, those of
    convolutions that are cheaper by Winograd's algorithm transformed for it.

    Inside the group an Unpack or UnpackWinograd gives the tensor its meaning back, so the graph still runs in the
    interpreter. What scans multiply by and have captured is packed in front of them, and windows that are no constants
    are transformed in front of their convolution.
    """
    with _Packer() as packer:
        return _pack_groups(graph, packer, target, options, remarks)


class _Packer:
    """Packs weights, each once for each layout. Leaving it waits for the threads: most of their time goes to pages of memory that are
    touched for the first time, which several cores do at once."""

    def __init__(self):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self.pool = ThreadPoolExecutor(cores, thread_name_prefix="lamina-pack")
        self.packed: dict[tuple, np.ndarray] = {}
        self.waiting: list[Future] = []

    def __enter__(self) -> _Packer:
        return self

    def __exit__(self, *error) -> None:
        self.pool.shutdown(cancel_futures=error[0] is not None)
        if error[0] is None:
            for future in self.waiting:
                future.result()

    def pack(self, array: np.ndarray, unpack: Unpack | UnpackWinograd) -> np.ndarray:
        """The array that will hold the packed form of `array` when the packer is left."""
        key = (id(array), unpack)
        if key not in self.packed:
            self.packed[key] = packed = aligned_empty(unpack.packed_shape(), array.dtype)
            if packed.nbytes < SMALL:
                unpack.pack(array, packed)
            else:
                self.waiting.append(self.pool.submit(unpack.pack, array, packed))
        return self.packed[key]


def _pack_groups(graph: Graph, packer: _Packer, target: Target, options: Options, remarks: Remarks) -> Graph:
    def transform(builder: Builder, node: Node, operands):
        op = node.op
        if isinstance(op, (Cond, While, Scan)):
            op = map_subgraphs(op, lambda body: _pack_groups(body, packer, target, options, remarks))
            if isinstance(op, Scan):
                op, operands = pack_captured(builder, op, tuple(operands), target)
            return builder.emit_all(op, *operands)
        if not isinstance(op, Fused) or op.kind not in WEIGHTED:
            return None
        main = find_main(op.body)
        if is_depthwise(main):
            return None
        found = _constant_weights(main, op.body, operands)
        winograd = _winograd(main, node, found is not None, target, options, remarks)
        if winograd and not found:
            number = op.body.params.index(main.operands[1])
            operands = list(operands)
            operands[number] = transform_windows(builder, operands[number], winograd)
            return builder.emit_all(replace(op, body=with_unpacks(op.body, {number: (winograd, operands[number].type)})), *operands)
        gates = len(find_gates(op.body, main))
        layout = found and (winograd or weight_layout(main, found[0], gates, target, op.schedule))
        if not layout:
            return None
        operands, unpacks = list(operands), {}
        for number in found[1]:
            constant = operands[number].op
            unpack = winograd or layout_of(layout, constant.array.shape)
            array = packer.pack(constant.array, unpack)
            unpacks[number] = unpack, TensorType(tuple(array.shape), as_dtype(array.dtype))
            operands[number] = builder.constant(array, constant.label)
        return builder.emit_all(replace(op, body=with_unpacks(op.body, unpacks)), *operands)
    return rebuild(graph, transform=transform, fold=False)


def _constant_weights(main: Node, body: Graph, operands) -> tuple[int, tuple[int, ...]] | None:
    """(side of the contraction, numbers of the operands that make its weights), where those are constants."""
    for side in (1, 0):
        numbers = weight_params(main, side, body)
        if numbers and all(isinstance(operands[n].op, Constant) for n in numbers):
            return side, numbers
    return None


def _winograd(main: Node, node: Node, is_constant: bool, target: Target, options: Options,
              remarks: Remarks) -> UnpackWinograd | None:
    """How the weights are transformed where Winograd's algorithm is to be used; a remark says why, or why not."""
    unpack, reason = choose_winograd(main, is_constant, target, node.op.schedule)
    if reason and not options.winograd:
        unpack, reason = None, "it is switched off (Options.winograd)"
    elif unpack and not is_constant and not weight_params(main, 1, node.op.body):
        unpack, reason = None, "its group reads the weights elsewhere too"
    if reason:
        place = f" ({node.location})" if str(node.location) else ""
        remarks.add("pack", f"{node.op.label}{place} by Winograd's algorithm", unpack is not None, reason, node.op.body.nodes)
    return unpack
