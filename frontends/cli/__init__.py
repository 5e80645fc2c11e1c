"""The command line: `lamina COMMAND ...`. Nothing but the parser is imported until a command runs."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on `argv` (without the program's name; None takes the process's). Returns the exit code."""
    from .main import main as run
    return run(argv)
