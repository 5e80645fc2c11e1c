"""Which dims do a model's inputs have?  Its dim parameters become symbols; the user's `dims=` gives them facts."""

from __future__ import annotations

import re
from typing import Any, Mapping, Sequence

from ...compiler.core.dims import Dim, DimExpr, Symbol, parse_dim, substitute, symbols_of
from ...compiler.core.errors import FormatError, ShapeError
from ..symbols import facts_of


class InputDims:
    """The dims of the inputs of one model. `facts` are the user's, by name."""

    def __init__(self, facts: Mapping[str, Any]):
        self.facts = {str(name): fact for name, fact in facts.items()}
        self.known: dict[str, Dim] = {}

    def of_input(self, name: str, axes: Sequence) -> tuple[Dim, ...]:
        """The shape of the input `name`, whose axes are the protobuf's."""
        return tuple(self._axis(name, position, axis) for position, axis in enumerate(axes))

    def of_spec(self, shape: Sequence) -> tuple[Dim, ...]:
        """The shape that the user gave for an input: ints, names or dims."""
        return tuple(self._parameter(d) if isinstance(d, str) else self._with_facts(d) for d in shape)

    def _axis(self, name: str, position: int, axis) -> Dim:
        if axis.HasField("dim_value"):
            if axis.dim_value < 0:
                return self._named(f"{name}_{position}")
            return axis.dim_value
        return self._parameter(axis.dim_param) if axis.dim_param else self._named(f"{name}_{position}")

    def _parameter(self, text: str) -> Dim:
        """The dim that a dim parameter spells: a name, or an expression over names."""
        if text in self.facts:
            return self._named(text)
        try:
            return self._with_facts(parse_dim(text, {}))
        except (FormatError, ShapeError):
            return self._named(text)

    def _with_facts(self, dim: Dim) -> Dim:
        return dim if isinstance(dim, int) else substitute(dim, {s.name: self._named(s.name, s)
                                                                 for s in symbols_of(dim)})

    def _named(self, name: str, declared: Symbol | None = None) -> Dim:
        if name not in self.known:
            plain = re.sub(r"\W", "_", name)
            plain = plain if re.match(r"[A-Za-z_]", plain) else f"dim_{plain}"
            fact = self.facts.get(name, self.facts.get(plain))
            self.known[name] = declared_dim(plain, fact) if fact is not None else \
                DimExpr((((declared or Symbol(plain),), 1),))
        return self.known[name]

    def check_all_used(self) -> None:
        """ShapeError where `dims=` names a dim that no input has."""
        names = {*self.known, *(re.sub(r"\W", "_", n) for n in self.known)}
        for name in self.facts:
            if name not in names:
                raise ShapeError(f"the model has no dim {name!r}", hint="its symbolic dims are "
                                 + (", ".join(self.known) or "none"))


def declared_dim(name: str, fact) -> Dim:
    """The dim with the facts that the user wrote: 4, (1, 64), (8, 512, 8), "1..64", a Symbol or a dim."""
    if isinstance(fact, DimExpr):
        return fact
    symbol = fact if isinstance(fact, Symbol) else facts_of(name, fact)
    return symbol.lower if symbol.lower == symbol.upper else DimExpr((((symbol,), 1),))
