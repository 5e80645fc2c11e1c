"""Where in the user's program does a node come from?"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_INTERNAL = tuple(os.path.join(_PACKAGE, room) + os.sep for room in ("compiler", "frontends", "runtime"))


@dataclass(frozen=True)
class Location:
    """A user's line (`file`, `line`, `function`) or, for imported models, the name of the model's node in `name`."""

    file: str = ""
    line: int = 0
    function: str = ""
    name: str = ""

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
