"""How does a command end?  Runs it and turns every error into a message and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from ...compiler.core.errors import BudgetError, CompilerError, LaminaError, NanError, UnsupportedError, VerifyError
from .console import Console
from .parser import BROKEN_PIPE, FAILED, INTERNAL, INTERRUPTED, OVER_BUDGET, UNSUPPORTED, USAGE, parse

_PACKAGE = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code (see `lamina --help`). Raises nothing."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        parser, arguments = parse(argv)
    except SystemExit as end:
        return int(end.code or 0)
    console = Console(arguments.json, arguments.quiet, arguments.verbose)
    try:
        if arguments.version:
            from .version import print_version
            code = print_version(console)
        elif arguments.command is None:
            parser.print_help(sys.stderr)
            return USAGE
        else:
            code = arguments.run(arguments, console)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _broken_pipe()
    except KeyboardInterrupt:
        console.error("interrupted")
        return INTERRUPTED
    except Exception as error:
        return report(error, arguments, argv, console)


def exit_code(error: BaseException) -> int:
    """The exit code that `error` ends a command with."""
    for kinds, code in (((NanError,), FAILED), ((UnsupportedError,), UNSUPPORTED),
                        ((BudgetError, MemoryError), OVER_BUDGET), ((CompilerError, VerifyError), INTERNAL),
                        ((LaminaError, OSError), USAGE)):
        if isinstance(error, kinds):
            return code
    return USAGE if missing_package(error) else INTERNAL


def missing_package(error: BaseException) -> str | None:
    """The package that is not installed, where that is what went wrong."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return name if name and name != __package__.partition(".")[0] else None


def report(error: Exception, arguments, argv: Sequence[str], console: Console) -> int:
    """Say what went wrong, where, and a way out; the exit code. An internal error leaves a bundle to report it with."""
    code = exit_code(error)
    what, where, hint = describe(error, code)
    console.error(f"{console.red('error:')} {what}")
    if where:
        console.error(f"  at {where}")
    if hint:
        console.error(f"  hint: {hint}")
    if console.environment.traceback == "full":
        console.error("".join(traceback.format_exception(error)).rstrip())
    elif console.verbosity:
        console.error("".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-6, chain=False)).rstrip())
    data = {"type": type(error).__name__, "message": what, "location": where, "hint": hint, "exit_code": code}
    if isinstance(error, UnsupportedError):
        data["problems"] = [vars(p) if hasattr(p, "__dict__") else str(p) for p in error.problems]
    if code == INTERNAL:
        from .crash import write_bundle
        data["bundle"] = write_bundle(error, arguments, argv, console)
    if console.json:
        console.result(arguments.command or "lamina", {"error": data})
    return code


def describe(error: Exception, code: int) -> tuple[str, str, str | None]:
    """(what, where, hint) of an error."""
    if isinstance(error, LaminaError):
        return error.message, str(error.location or ""), error.hint
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or error}", "", None
    package = missing_package(error)
    if package:
        return f"this needs the Python package {package}, which is not installed", "", f"pip install {package}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}".rstrip(": "), "", "a smaller --dim, or --max-memory, which plans for less"
    frame = next((f for f in reversed(traceback.extract_tb(error.__traceback__)) if Path(f.filename).is_relative_to(_PACKAGE)), None)
    where = f"{Path(frame.filename).relative_to(_PACKAGE)}:{frame.lineno} in {frame.name}" if frame else ""
    return f"internal error: {type(error).__name__}: {error}", where, None


def _broken_pipe() -> int:
    """The reader of standard output went away: end as other tools do, without a complaint when Python flushes at exit."""
    import os
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    return BROKEN_PIPE
