"""What is common to all optimizers?  Trees, frozen parameters, dtypes, schedules; a subclass is one array's rule."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Callable

import numpy as np

from ...compiler.core.dtypes import DType
from .. import tree
from ..array.creation import asarray, zeros
from ..array.elementwise import add
from ..array.operands import Array, as_array, as_operand, cast, dtype_of, shape_text
from ..array.tracer import dtype_error, shape_error

#: A number, a scalar array (traced or not), or a schedule: a function of the number of updates done before this one.
Hyperparameter = float | Array | Callable
#: Which parameters: all (True), a tree of bools (which may stand for whole subtrees), or a function of path and array.
Selection = Any


def _is_none(x) -> bool:
    return x is None


@dataclass(frozen=True)
class Optimizer:
    """An optimizer's rule and hyperparameters. What it remembers is the state: {"step": int32, "momentum": tree, ...}.

    Every hyperparameter may be a number, a scalar array or tracer (so that `vmap` over learning rates works), or a
    schedule. Parameters are trained where `trainable` says so; the others, those whose gradient is None (which may
    stand for a subtree), and those that are not floating stay as they are. `decayed` says to which `weight_decay`
    applies, for example `lambda path, p: p.ndim > 1`. 16-bit parameters are computed with, and remembered, in float32.
    """

    learning_rate: Hyperparameter = 1e-3
    trainable: Selection = field(default=True, kw_only=True, metadata={"is_selection": True})
    decayed: Selection = field(default=True, kw_only=True, metadata={"is_selection": True})

    # ---- what a subclass says ----------------------------------------------------------------------------------------
    def accumulators(self, zero: Array) -> dict[str, Array]:
        """What is remembered of one parameter at the beginning, by name; `zero` has its shape."""
        return {}

    def rule(self, gradient: Array, parameter: Array, accumulators: dict[str, Array], count: Array):
        """The new parameter and accumulators. All floats have one dtype; `count` is 1 in the first update."""
        raise NotImplementedError

    # ---- trees -------------------------------------------------------------------------------------------------------
    def init(self, params) -> dict[str, Any]:
        """The state for `params`: zero updates done."""
        leaves, structure = tree.flatten(params, _is_none)
        leaves = [_as_parameter(p) for p in leaves]
        is_trained = self._selected(self.trainable, params, leaves, structure)
        accumulators = [self._initial(p) if trained else {} for p, trained in zip(leaves, is_trained)]
        return {"step": zeros((), "int32"), **_by_name(accumulators, structure)}

    def _initial(self, parameter: Array) -> dict[str, Array]:
        found = self.accumulators(zeros(parameter.shape, dtype_of(parameter).compute))
        return {name: asarray(x, copy=True) for name, x in found.items()}  # a step may take the memory of each

    def update(self, grads, state, params) -> tuple[Any, dict[str, Any]]:
        """(params, state) after one update. `grads` is a tree like `params`, but for None where nothing changes."""
        leaves, structure = tree.flatten(params, _is_none)
        leaves = [_as_parameter(p) for p in leaves]
        gradients = tree.spread(grads, params, _is_none, "the gradients")
        is_trained = self._selected(self.trainable, params, leaves, structure)
        is_decayed = self._selected(self.decayed, params, leaves, structure)
        remembered = self._remembered(state, structure)
        step, paths, scaled = as_array(state["step"]), tree.paths(structure), {}
        new_leaves, new_accumulators = [], []
        for i, (p, g) in enumerate(zip(leaves, gradients)):
            accumulators = {name: found[i] for name, found in remembered.items() if found[i] is not None}
            if is_trained[i] and g is not None:
                g = _checked(g, p, paths[i])
                dtype = dtype_of(p).compute
                if dtype not in scaled:
                    scaled[dtype] = self._at(step, dtype), cast(add(step, 1), dtype)
                own, count = scaled[dtype]
                if not is_decayed[i] and hasattr(own, "weight_decay"):
                    own = dataclasses.replace(own, weight_decay=0.0)
                try:
                    changed, accumulators = own.rule(cast(g, dtype), cast(p, dtype), accumulators, count)
                except KeyError as missing:
                    raise tree.TreeError(f"the state of the parameter{paths[i]} has no {missing}, which "
                                         f"{type(self).__name__} keeps",
                                         hint="it is that of another optimizer, or the parameter was frozen") from None
                p = cast(as_array(changed), dtype_of(p))
            new_leaves.append(p)
            new_accumulators.append(accumulators)
        return (tree.unflatten(structure, new_leaves),
                {"step": add(step, np.int32(1)), **_by_name(new_accumulators, structure)})

    def _remembered(self, state, structure: tree.Structure) -> dict[str, list]:
        """The accumulators of each parameter by name; TreeError where the state is not one of these parameters."""
        remembered = {}
        for name, accumulator in state.items():
            if name == "step":
                continue
            remembered[name], found = tree.flatten(accumulator, _is_none)
            if found != structure:
                raise tree.TreeError(f"the state's {name!r} and the parameters differ "
                                     f"{tree.difference(found, structure)}",
                                     hint="init makes a state for parameters, which serves for no others")
        return remembered

    def _at(self, step: Array, dtype: DType) -> "Optimizer":
        """This optimizer with its schedules' values at `step`, and arrays as scalars of `dtype`."""
        values = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.metadata.get("is_selection") or isinstance(value, (bool, str, type(None))):
                continue
            value = value(step) if callable(value) else value
            values[f.name] = value if type(value) in (int, float) else as_operand(value, dtype)
        return dataclasses.replace(self, **values)

    def _selected(self, selection: Selection, params, leaves, structure: tree.Structure) -> list[bool]:
        """For each leaf, whether it is a floating array that `selection` names."""
        if callable(selection):
            named = [p is not None and bool(selection(path, p)) for path, p in zip(tree.paths(structure), leaves)]
        else:
            named = tree.spread(selection, params, _is_none, "a selection of parameters")
        return [bool(n) and p is not None and dtype_of(p).is_float for n, p in zip(named, leaves)]


def is_zero(hyperparameter) -> bool:
    """Whether a hyperparameter is known to be 0, so that nothing need be computed for it."""
    return type(hyperparameter) in (int, float) and hyperparameter == 0


def _as_parameter(p):
    return None if p is None else as_array(p)


def _by_name(accumulators: list[dict[str, Array]], structure: tree.Structure) -> dict[str, Any]:
    """Accumulators of each parameter as trees by name, with None where a parameter has none."""
    names = dict.fromkeys(name for s in accumulators for name in s)
    return {name: tree.unflatten(structure, [s.get(name) for s in accumulators]) for name in names}


def _checked(gradient, parameter: Array, path: str) -> Array:
    gradient = as_array(gradient)
    if tuple(gradient.shape) != tuple(parameter.shape):
        raise shape_error(f"the gradient{' of ' + path if path else ''} has shape {shape_text(gradient.shape)}, its "
                          f"parameter {shape_text(parameter.shape)}")
    if not dtype_of(gradient).is_float:
        raise dtype_error(f"the gradient{' of ' + path if path else ''} is {dtype_of(gradient).name}, a floating one "
                          f"was expected", hint="None stands for no gradient")
    return gradient
