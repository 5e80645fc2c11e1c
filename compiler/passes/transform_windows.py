"""How are windows transformed for Winograd's algorithm that only a run knows, a training step's?  By a product in front of their
convolution, which leaves them in its panels."""

from __future__ import annotations

import numpy as np

from ..graph.builder import Builder
from ..graph.graph import Value
from ..ops.contract import Contract
from ..ops.control import Fused
from ..ops.rearrange import Pad, Reshape
from ..ops.winograd import TAPS, UnpackWinograd, window_transform


def transform_windows(builder: Builder, windows: Value, unpack: UnpackWinograd) -> Value:
    """The transforms of `windows` [3, 3, C, K] as `unpack` takes them, [panels, points, C, width]."""
    panels, _, channels, width = unpack.packed_shape()
    x = builder.emit(Reshape((TAPS * TAPS, channels, windows.shape[-1])), windows)
    if panels * width != windows.shape[-1]:
        x = builder.emit(Pad((0, 0, 0), (0, 0, panels * width - windows.shape[-1]), 0.0), x)
    x = builder.emit(Reshape((TAPS * TAPS, channels, panels, width)), x)
    one = window_transform(unpack.outputs)
    both = builder.constant(np.kron(one, one).astype(windows.dtype.numpy))  # of a window's nine elements
    body = Builder("transform", fold=False)
    made = body.emit(Contract("pt,tcnw->npcw"), body.parameter(both.type, "both"), body.parameter(x.type, "windows"))
    return builder.emit(Fused(body.finish([made]), "contraction", "transform"), both, x)
