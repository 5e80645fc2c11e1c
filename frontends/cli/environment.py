"""Which environment variables does the command line listen to?  Read here and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Environment:
    """`traceback` is LAMINA_TRACEBACK ("full" shows every frame of an error), `has_color` is False where NO_COLOR or TERM=dumb asks
    for plain text, `settings` are all LAMINA_* variables."""

    traceback: str
    has_color: bool
    settings: dict[str, str]


def read_environment() -> Environment:
    """The variables as they are now."""
    env = os.environ
    return Environment(env.get("LAMINA_TRACEBACK", ""), not env.get("NO_COLOR") and env.get("TERM") != "dumb",
                       {name: value for name, value in sorted(env.items()) if name.startswith("LAMINA_")})
