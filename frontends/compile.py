"""How does a model become something that runs?  compile, load, build and parse: thin calls of the compiler and the
runtime."""

from __future__ import annotations

import os
from typing import Callable, Mapping

from ..compiler.core.errors import LaminaError, UnsupportedError
from ..compiler.core.options import Options
from ..compiler.graph.graph import Graph
from .symbols import Facts, with_dims

Model = Callable | Graph | str | os.PathLike | bytes
DEVICES = ("cpu",)


def as_graph(model: Model, *specs, dims: Mapping[str, Facts] | None = None) -> Graph:
    """The graph of a model: of a Python function with the types of its arguments, a Graph, or an ONNX model.

    An ONNX model is a path, its bytes, or a ModelProto. `dims` declares facts of symbolic dims: {"batch": (1, 64)}.
    """
    if isinstance(model, Graph):
        _no_specs(specs, "a Graph")
        return with_dims(model, dims)
    if isinstance(model, (str, os.PathLike)):
        path = os.fspath(model)
        if not path.endswith(".onnx"):
            raise UnsupportedError(f"{path!r} is no model that lamina reads", hint="it reads .onnx, and .lam with "
                                                                                   "lm.load")
    if isinstance(model, (str, os.PathLike, bytes)) or hasattr(model, "SerializeToString"):
        _no_specs(specs, "an ONNX model")
        from .onnx import load as load_onnx
        return load_onnx(model, dims=dims)
    if callable(model):
        from .trace import trace  # late: a file that is in the cache needs no array functions
        return trace(model, *specs, dims=dims)
    raise UnsupportedError(f"{type(model).__name__} is no model that lamina knows",
                           hint="give a function and its arguments' types, a Graph, or an ONNX model")


def _no_specs(specs, what: str) -> None:
    if specs:
        raise LaminaError(f"{what} has its types already, {len(specs)} were given", hint="leave them out; dims= "
                                                                                         "declares dims")


def compile(model: Model, *specs, dims: Mapping[str, Facts] | None = None, device: str = "cpu",
            options: Options | None = None, donate: tuple[int, ...] = ()):
    """Compile a model for this process: an Executable that takes and returns flat NumPy arrays.

    `model` is a function (with a spec for each argument), a Graph, an ONNX model (path, bytes, ModelProto), or the path
    of a saved .lam artifact, which is loaded. `donate` lists inputs whose memory the outputs may take.
    """
    if isinstance(model, (str, os.PathLike)) and os.fspath(model).endswith(".lam"):
        _no_specs(specs, "an artifact")
        if dims or options is not None:
            raise LaminaError("a saved artifact is compiled already", hint="leave dims and options out")
        return load(model)
    return executable(model, *specs, dims=dims, device=device, options=options, donate=donate)


def executable(model: Model, *specs, dims: Mapping[str, Facts] | None = None, device: str = "cpu",
               options: Options | None = None, donate: tuple[int, ...] = ()):
    """Compile a model, or take it from the cache, and load it."""
    if device not in DEVICES:
        raise UnsupportedError(f"there is no device {device!r}", hint="there is " + ", ".join(map(repr, DEVICES)))
    from .cached import compile_cached
    options = options or Options()
    donate = () if options.check_nans else tuple(donate)  # what led to a NaN is computed again
    return loaded(compile_cached(model, *specs, dims=dims, options=options, donate=donate), options)


def loaded(artifact, options: Options):
    """The Executable of what was compiled with `options`."""
    from ..runtime.executable import Executable
    if options.check_nans:
        from .checked import CheckedExecutable
        return CheckedExecutable(artifact, options, measure_roofline)
    return Executable(artifact, measure_roofline)


def load(path: str | os.PathLike):
    """The Executable in a saved .lam artifact."""
    from ..runtime.executable import Executable
    from ..runtime.package import load_artifact
    return Executable(load_artifact(path), measure_roofline)


def measure_roofline(threads: int):
    """The Roofline of this machine on that many threads at most (0: no cap), measured once for each process."""
    from .roofline import roofline
    return roofline(threads)


def parse(text: str) -> Graph:
    """The graph that IR text spells: the inverse of str(graph)."""
    from ..compiler.graph.text import parse_graph
    return parse_graph(text)
