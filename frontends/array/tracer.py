"""What stands for an array while a Python function is traced, and how does an op get applied?

`emit` is the one door to the ops: with a `Tracer` among its operands it adds a node to the innermost live trace,
otherwise it evaluates the op's NumPy reference at once. Every array function is written once over it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Iterator, Sequence

import numpy as np

from ...compiler.core.collection import collection_paused
from ...compiler.core.dims import DimExpr, format_dim
from ...compiler.core.dtypes import DType
from ...compiler.core.errors import DTypeError, LaminaError, ShapeError, TraceError
from ...compiler.core.location import UNKNOWN, Location, capture
from ...compiler.core.types import TensorType
from ...compiler.graph.builder import Builder, inline
from ...compiler.graph.graph import Graph, Value

UNIFORM_LIMIT = 1024  # bytes above which a captured array whose elements are all equal becomes a broadcast scalar


class _Live(threading.local):
    """The traces that are being recorded on this thread, outermost first."""

    def __init__(self):
        self.traces: list[Trace] = []
        self.location: Location = UNKNOWN


_live = _Live()


class Trace:
    """One graph in the making. `purpose` says in messages what is traced, such as "the body of lm.scan"."""

    def __init__(self, name: str = "main", purpose: str = ""):
        self.builder = Builder(name)
        self.purpose = purpose or f"function {name!r}"
        self.is_live = False
        self.captured: dict[int, tuple[Tracer, Value]] = {}
        self._constants: dict[int, tuple[np.ndarray, np.ndarray, Value]] = {}

    def parameter(self, type: TensorType, name: str = "", weak: bool = False) -> "Tracer":
        """A new parameter of the graph."""
        return Tracer(self, self.builder.parameter(type, name), weak)

    def lift(self, operand) -> Value:
        """The value in this trace that stands for `operand`: a tracer of this trace or of one around it, or an
        array."""
        if not isinstance(operand, Tracer):
            return self.constant(operand)
        if operand.owner is self:
            return operand.value
        if not operand.owner.is_live:
            raise leaked(operand)
        if operand.owner not in _live.traces:
            raise trace_error(f"{operand!r} belongs to {operand.owner.purpose}, which is being traced on another "
                              f"thread", hint="trace on one thread, and share graphs or executables")
        known = self.captured.get(id(operand.value))
        if known is None:
            parameter = self.builder.parameter(operand.value.type, operand.value.name)
            known = self.captured[id(operand.value)] = (operand, parameter)
        return known[1]

    def constant(self, array) -> Value:
        """A constant that holds a copy of `array`, or `array` itself where nothing can write to it."""
        array = np.asarray(array)
        known = self._constants.get(id(array))
        if known is not None and (known[1] is array or np.array_equal(_bits(known[1]), _bits(array))):
            return known[2]
        kept = array if _is_frozen(array) else array.copy()
        value = self._uniform(kept) if kept.nbytes > UNIFORM_LIMIT else None
        if value is None:
            value = self.builder.constant(kept)
        self._constants[id(array)] = (array, kept, value)
        return value

    def _uniform(self, array: np.ndarray) -> Value | None:
        """`array` as a broadcast scalar where all of its elements are the same bits, so that zeros cost no memory."""
        bits = _bits(array)
        if bits[0] != bits[-1] or bits[0] != bits[bits.size // 2] or not (bits == bits[0]).all():
            return None
        from ...compiler.ops.rearrange import Broadcast
        scalar = self.builder.constant(array.reshape(-1)[0].reshape(()))
        return self.builder.emit(Broadcast(tuple(array.shape), ()), scalar)

    def finish(self, results: Sequence, names: Sequence[str] = ()) -> Graph:
        """The graph whose results are `results` (tracers or arrays)."""
        return self.builder.finish([self.lift(r) for r in results], names)


def _bits(array: np.ndarray) -> np.ndarray:
    """The elements as bytes, which compare as bits: NaN equals itself, 0.0 is not -0.0."""
    return np.ascontiguousarray(array).reshape(-1).view(f"V{array.itemsize}")


def _is_frozen(array: np.ndarray) -> bool:
    """Whether neither the array nor an array whose memory it shows can be written to."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return True


@contextmanager
def tracing(name: str = "main", purpose: str = "") -> Iterator[Trace]:
    """Record the ops that are applied to tracers inside the block as a graph."""
    trace = Trace(name, purpose)
    trace.is_live = True
    _live.traces.append(trace)
    try:
        with collection_paused():
            yield trace
    finally:
        trace.is_live = False
        _live.traces.remove(trace)


def current_trace() -> Trace | None:
    """The innermost live trace of this thread."""
    return _live.traces[-1] if _live.traces else None


@contextmanager
def located(location: Location) -> Iterator[None]:
    """Inside the block nodes and errors get `location` (an imported model's node) in place of the user's line."""
    outer, _live.location = _live.location, location
    try:
        yield
    finally:
        _live.location = outer


def user_location() -> Location:
    """The location for nodes and errors: the one that `located` set, or the first frame outside lamina."""
    return capture() if _live.location is UNKNOWN else _live.location


def shape_error(message: str, hint: str | None = None) -> ShapeError:
    """A ShapeError at the user's line."""
    return ShapeError(message, location=user_location(), hint=hint)


def dtype_error(message: str, hint: str | None = None) -> DTypeError:
    """A DTypeError at the user's line."""
    return DTypeError(message, location=user_location(), hint=hint)


def trace_error(message: str, hint: str | None = None) -> TraceError:
    """A TraceError at the user's line."""
    return TraceError(message, location=user_location(), hint=hint)


def emit(op, *operands):
    """Apply `op` to tracers or NumPy arrays of definite dtypes: its one result, or a tuple where it has several.

    With a tracer among the operands, or a symbolic dim in the op, the result is a tracer of the innermost live trace;
    otherwise it is a NumPy array, computed at once by the op's reference.
    """
    for operand in operands:
        if isinstance(operand, Tracer):
            return emit_traced(op, *operands)
    if any(_is_symbolic(value) for value in vars(op).values()):
        return emit_traced(op, *operands)
    try:
        with np.errstate(all="ignore"):
            results = op.evaluate(*operands)
    except LaminaError as error:
        raise _with_location(error)
    return results[0] if len(results) == 1 else results


def emit_graph(graph: Graph, operands: Sequence) -> tuple:
    """The results of `graph`: added to the innermost live trace where a tracer is among the operands or a symbolic dim
    in the graph, else computed."""
    leaf = next((operand for operand in operands if isinstance(operand, Tracer)), None)
    if leaf is None and all(t.is_static for node in graph.nodes for t in node.result_types):
        return graph.evaluate(*operands)
    trace = current_trace()
    if trace is None:
        raise leaked(leaf) if leaf is not None else trace_error("a symbolic dim is used outside of any trace")
    results = inline(trace.builder, graph, [trace.lift(operand) for operand in operands])
    return tuple(Tracer(trace, r) for r in results)


def _is_symbolic(value) -> bool:
    return isinstance(value, DimExpr) or isinstance(value, tuple) and any(map(_is_symbolic, value))


def emit_traced(op, *operands):
    """Add `op` to the innermost live trace."""
    trace = current_trace()
    if trace is None:
        for operand in operands:
            if isinstance(operand, Tracer):
                raise leaked(operand)
        raise trace_error("a symbolic dim is used outside of any trace")
    values = [trace.lift(o) for o in operands]
    trace.builder.location = user_location()
    results = trace.builder.emit_all(op, *values)
    tracers = tuple(Tracer(trace, r) for r in results)
    return tracers[0] if len(tracers) == 1 else tracers


def _with_location(error: LaminaError) -> LaminaError:
    if error.location is None:
        error.location = user_location()
    return error


def leaked(tracer: "Tracer") -> TraceError:
    """The error for a tracer that outlived its trace."""
    value = tracer.value
    origin = (f"made at {value.node.location}" if value.node is not None and str(value.node.location)
              else f"parameter {value.name!r}" if value.node is None and value.name else "made")
    return trace_error(f"{tracer!r}, {origin} while {tracer.owner.purpose} was traced, is used after that trace has "
                       f"ended",
                       hint="return it from the traced function; a global, an attribute or a list that keeps it leaks "
                            "it")


class Tracer:
    """An array whose elements are not known yet: it has a shape, a dtype and NumPy's methods, and records what is done.

    `shape` holds ints, or dim expressions on symbolic axes. `weak` marks what was a Python scalar: it takes the dtype
    of the arrays that it meets.
    """

    __slots__ = ("owner", "value", "weak", "__weakref__")
    __array_priority__ = 1000
    __hash__ = None  # == compares elements

    def __init__(self, owner: Trace, value: Value, weak: bool = False):
        self.owner = owner
        self.value = value
        self.weak = weak

    @property
    def shape(self) -> tuple:
        return self.value.type.shape

    @property
    def dtype(self) -> DType:
        return self.value.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.value.type.shape)

    @property
    def size(self):
        return self.value.type.size

    @property
    def nbytes(self):
        return self.value.type.nbytes

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def device(self) -> str:
        return "cpu"

    def __repr__(self) -> str:
        return f"Tracer<{self.value.type}>"

    def __format__(self, spec: str) -> str:
        if spec:
            raise self._refusal(f"formatted as {spec!r}", "print its repr, or return it and print the result")
        return repr(self)

    def _refusal(self, what: str, hint: str) -> TraceError:
        return trace_error(f"{self!r} can't be {what}: its elements are not known while {self.owner.purpose} is traced",
                           hint=hint)

    def __bool__(self):
        raise self._refusal("used as a truth value",
                            "use lm.cond or lm.where to choose, lm.while_loop to repeat, & | ~ in "
                            "place of and, or, not; or name the argument in static_argnames")

    def __int__(self):
        raise self._refusal("turned into an int", "x.astype(lm.int64) stays an array; or name the argument in "
                            "static_argnames")

    def __index__(self):
        raise self._refusal("used as a Python index or size", "lm.take and lm.dynamic_slice take arrays as indices, "
                            "lm.fori_loop an array as count; or name the argument in static_argnames")

    def __float__(self):
        raise self._refusal("turned into a float", "x.astype(lm.float32) stays an array; or name the argument in "
                            "static_argnames")

    def __complex__(self):
        raise self._refusal("turned into a complex number", "lamina has no complex dtypes")

    def item(self, *args):
        raise self._refusal("turned into a Python scalar",
                            "return it from the traced function and take its item() there")

    def tolist(self):
        raise self._refusal("turned into a list", "return it from the traced function and take its tolist() there")

    def __array__(self, dtype=None, copy=None):
        raise self._refusal("turned into a NumPy array",
                            "use lamina's function of that name (lm.exp for np.exp), or name "
                            "the argument in static_argnames")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        """NumPy's elementwise functions on tracers are lamina's functions of the same name."""
        if method == "__call__" and not kwargs:
            return _namespace_function(self, ufunc.__name__)(*inputs)
        out = kwargs.get("out")
        if method == "__call__" and out is not None:
            raise self._refusal("written into a NumPy array",
                                "a traced function makes new arrays: write a = a + x, not a += x")
        raise self._refusal(f"given to np.{ufunc.__name__}.{method}",
                            f"lamina has lm.{ufunc.__name__} without {method} or "
                            "keyword arguments")

    def __array_function__(self, function, types, args, kwargs):
        """NumPy's functions on tracers are lamina's functions of the same name."""
        return _namespace_function(self, function.__name__)(*args, **kwargs)

    def __array_namespace__(self, api_version: str | None = None):
        """The namespace of the Array API standard."""
        if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
            raise ValueError(f"lamina follows the Array API standard 2024.12, not {api_version}")
        from .. import array
        return array

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d array")
        if isinstance(self.shape[0], DimExpr):
            raise trace_error(f"the length of {self!r} is the symbolic dim {format_dim(self.shape[0])}",
                              hint="x.shape[0] is a dim that can be computed with")
        return self.shape[0]

    def __iter__(self):
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        if isinstance(self.shape[0], DimExpr):
            raise trace_error(f"{self!r} can't be iterated over: its length is the symbolic dim "
                              f"{format_dim(self.shape[0])}", hint="use lm.scan or lm.fori_loop")
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, item):
        raise self._refusal("searched with `in`", "lm.any(x == item) is an array")

    def __setitem__(self, index, value):
        raise trace_error(f"{self!r} can't be assigned to: traced arrays are never changed in place",
                          hint="write x = x.at[index].set(value)")

    def __copy__(self) -> "Tracer":
        return self

    def __deepcopy__(self, memo) -> "Tracer":
        return self

    def __reduce__(self):
        raise self._refusal("pickled", "return it from the traced function")


def _namespace_function(tracer: Tracer, name: str):
    from .. import array
    function = getattr(array, name, None)
    if not callable(function):
        raise trace_error(f"lamina has no function {name!r} for {tracer!r}",
                          hint="`lamina ops` lists what there is")
    return function
