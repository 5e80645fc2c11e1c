"""Where in the user's program does a node come from?"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_INTERNAL = tuple(os.path.join(_PACKAGE, room) + os.sep for room in ("compiler", "frontends", "runtime"))


@dataclass(frozen=True)
class Location:
    """A user's line (`file`, `line`, `function`) or, for imported models, the name of the model's node in `name`.

    `backward_of` is the operator that reverse mode pulled cotangents back through here; "" for all other code. It is no
    part of how a place is shown: forward and backward code of a line are that line's.
    """

    file: str = ""
    line: int = 0
    function: str = ""
    name: str = ""
    backward_of: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file else ""
        if self.function:
            place += f" in {self.function}"
        return f"{place} node {self.name!r}".strip() if self.name else place

    @property
    def layer(self) -> str:
        """The part of the model that the place belongs to: the path in front of an imported node's name, or the
        user's function."""
        return self.name.strip("/").rpartition("/")[0] if self.name else self.function

    def backward(self, operator: str) -> "Location":
        """This place, in the backward code of `operator`; where nothing is known, that stays so."""
        return replace(self, backward_of=operator) if self.file or self.name else self

    @property
    def line_alone(self) -> "Location":
        """This place, whichever code of it is meant."""
        return replace(self, backward_of="") if self.backward_of else self


UNKNOWN = Location()


def capture() -> Location:
    """The first frame on the stack that is outside lamina: the user's line."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_INTERNAL) and not code.co_filename.startswith("<frozen"):
            return Location(code.co_filename, frame.f_lineno, code.co_name)
        frame = frame.f_back
    return UNKNOWN
