"""Are digests equal for the same graph, and different where anything but a location differs?"""

import numpy as np

from lamina.compiler.core.dims import symbol
from lamina.compiler.core.dtypes import float32
from lamina.compiler.core.location import Location
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph.builder import Builder
from lamina.compiler.graph.hash import digest
from lamina.compiler.ops import Contract, Mul


def linear(weights, scale=2.0, upper=8, line=1, spec="bi,io->bo"):
    b = Builder()
    b.location = Location("model.py", line)
    x = b.parameter(TensorType((symbol("b", 1, upper), 10), float32), "x")
    y = b.emit(Contract(spec), x, b.constant(weights))
    return b.finish([b.emit(Mul(), y, y), b.constant(np.array(scale))])


def test_digests_tell_graphs_apart():
    w = np.arange(100, dtype=np.float32).reshape(10, 10)
    same = digest(linear(w))
    assert len(same) == 32 and same == digest(linear(w.copy())) == digest(linear(w, line=7))
    other = [linear(w + 1), linear(w, scale=3.0), linear(w, upper=9), linear(w, spec="bi,oi->bo"), linear(w[:, :9])]
    assert len({same, *map(digest, other)}) == len(other) + 1


def test_contents_can_be_left_out():
    w = np.arange(100, dtype=np.float32).reshape(10, 10)
    code = digest(linear(w), contents=False)
    assert code == digest(linear(w + 1, scale=3.0), contents=False)
    assert code != digest(linear(w[:, :9]), contents=False)
