"""Where does output go?  Data to standard output, as text or JSON; notes, progress and errors to standard error."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from ...runtime.amounts import format_bytes as format_bytes, format_seconds as format_seconds
from .environment import read_environment

SCHEMA = 1  # of the JSON that commands write
PATIENCE = 0.5  # seconds of work before progress is shown


class Console:
    """The two streams of one command. `json` is whether the result is wanted as JSON."""

    def __init__(self, as_json: bool = False, is_quiet: bool = False, verbosity: int = 0):
        self.json = as_json
        self.is_quiet = is_quiet
        self.verbosity = verbosity
        self.environment = read_environment()

    @property
    def is_terminal(self) -> bool:
        """Whether standard output is a terminal that takes colors."""
        return sys.stdout.isatty() and self.environment.has_color

    # ---- standard output --------------------------------------------------------------------------------------------
    def print(self, text: str = "") -> None:
        """A line of data."""
        sys.stdout.write(text + "\n")

    def write_bytes(self, data: bytes) -> None:
        """Binary data."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def result(self, command: str, data: dict) -> None:
        """The result of `command` as one JSON object; "schema" says by which rules it is to be read."""
        self.print(json.dumps({"schema": SCHEMA, "command": command, **data}, indent=2, default=_plain, allow_nan=False))

    def table(self, header: Sequence[str], rows: Iterable[Sequence]) -> None:
        """Rows under a header; numbers to the right. Plain columns where standard output is no terminal."""
        cells = [[cell if isinstance(cell, str) else format(cell, ",") if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
        right = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(header))]
        if self.is_terminal:
            self._rich_table(header, cells, right)
            return
        widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
        for row in [list(header), *cells]:
            self.print("  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right)).rstrip())

    def _rich_table(self, header, cells, right) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console as RichConsole
        from rich.table import Table
        from rich.text import Text
        table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for title, is_number in zip(header, right):
            table.add_column(Text(title), justify="right" if is_number else "left", overflow="fold")
        for row in cells:
            table.add_row(*map(Text, row))
        RichConsole(file=sys.stdout).print(table)

    def bold(self, text: str) -> str:
        """`text` as a heading of standard output."""
        return f"\x1b[1m{text}\x1b[0m" if self.is_terminal else text

    # ---- standard error ---------------------------------------------------------------------------------------------
    def note(self, text: str) -> None:
        """A line about what happens, unless -q."""
        if not self.is_quiet:
            self.error(text)

    def detail(self, text: str) -> None:
        """A line that only -v shows."""
        if self.verbosity:
            self.error(text)

    def error(self, text: str) -> None:
        """A line that is always shown."""
        sys.stderr.write(text + "\n")

    def red(self, text: str) -> str:
        return f"\x1b[1;31m{text}\x1b[0m" if sys.stderr.isatty() and self.environment.has_color else text

    def progress(self, title: str) -> "Progress":
        """A context in which `tell(stage, done, total)` shows how far the work is."""
        return Progress(self, title)


class Progress:
    """Shows a bar on a terminal once the work has taken `PATIENCE` seconds; with -v it logs the time of each stage."""

    def __init__(self, console: Console, title: str):
        self._console = console
        self._title = title
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._display = None
        self._task = None
        self._stage, self._done, self._total = "", 0, 0
        self._seconds: dict[str, float] = {}
        self._begun = self._told = time.perf_counter()

    def __enter__(self) -> Callable[[str, int, int], None]:
        console = self._console
        if sys.stderr.isatty() and console.environment.has_color and not console.is_quiet and not console.verbosity:
            self._timer = threading.Timer(PATIENCE, self._show)
            self._timer.daemon = True
            self._timer.start()
        return self.tell

    def tell(self, stage: str, done: int = 0, total: int = 0) -> None:
        """`stage` is ready, or `done` of `total` parts of it: the time since the last call was spent on it."""
        with self._lock:
            now = time.perf_counter()
            self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._told
            self._told = now
            self._stage, self._done, self._total = stage, done, total
            if self._display is not None:
                self._update()

    def _show(self) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress as RichProgress, SpinnerColumn, TextColumn, TimeElapsedColumn
        with self._lock:
            if self._timer is None:
                return
            self._display = RichProgress(SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(20), TimeElapsedColumn(),
                                         console=RichConsole(file=sys.stderr), transient=True)
            self._task = self._display.add_task(self._title, total=None)
            self._update()
            self._display.start()

    def _update(self) -> None:
        count = f" {self._done}/{self._total}" if self._total else ""
        self._display.update(self._task, description=f"{self._title}: {self._stage}{count}", completed=self._done, total=self._total or None)

    def __exit__(self, kind, error, traceback) -> None:
        with self._lock:
            timer, self._timer, display, self._display = self._timer, None, self._display, None
        if timer is not None:
            timer.cancel()
        if display is not None:
            display.stop()
        for stage, seconds in self._seconds.items():
            self._console.detail(f"  {stage}: {seconds * 1e3:.0f} ms")
        self._console.detail(f"{self._title}: {(time.perf_counter() - self._begun) * 1e3:.0f} ms")


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"-?[\d.,]+(e[+-]?\d+)?[x%]?( (ns|us|ms|s|bytes|KiB|MiB|GiB))?|-|inf|", text))


def _plain(value):
    """NumPy numbers as JSON takes them."""
    return value.item() if hasattr(value, "item") else str(value)
