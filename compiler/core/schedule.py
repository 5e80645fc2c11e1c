"""What is not left to the heuristics when a group becomes a kernel?  Choices that were measured, or made by hand."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .errors import CompilerError


@dataclass(frozen=True)
class Schedule:
    """Choices for one group's kernel. None leaves it to the heuristic; a choice that the kernel lacks changes nothing.

    rows        rows of a product's or attention's register tile; pixels of a depthwise or narrow convolution's
    vectors     vectors of columns in that tile (of keys, in attention); constant weights are packed in its width
    units       parts, about, that a product's work is cut into, which threads share; 1 keeps it on one thread
    packs       whether a product whose right operand is no constant copies it into panels first
    winograd    outputs of a tile along both axes, by Winograd's algorithm; 0 computes the convolution directly
    interleave  vectors that a loop or a reduction has in flight at once
    """

    rows: int | None = None
    vectors: int | None = None
    units: int | None = None
    packs: bool | None = None
    winograd: int | None = None
    interleave: int | None = None

    def __post_init__(self):
        for name, value in self.choices().items():
            kind, least = (bool, False) if name == "packs" else (int, 0 if name == "winograd" else 1)
            if type(value) is not kind or value < least:
                what = "true or false" if kind is bool else f"a whole number from {least} on"
                raise CompilerError(f"a schedule's {name} is {value!r}", hint=f"it is {what}")

    def choices(self) -> dict[str, int | bool]:
        """The choices that are made here, by name."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def __str__(self) -> str:
        """`rows=6, vectors=4, packs=true`."""
        return ", ".join(f"{name}={str(value).lower()}" for name, value in self.choices().items())
