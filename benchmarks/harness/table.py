"""How are numbers laid out for people?  Markdown tables with aligned columns, and a few number formats."""

from __future__ import annotations

from collections.abc import Sequence

MISSING = "-"


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column left-aligned, all others right-aligned and padded."""
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
             for row in table]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [lines[0], rule, *lines[1:]])


def format_time(seconds: float | None) -> str:
    """Milliseconds with three significant digits, at least: 0.0123, 4.56, 78.9, 1234."""
    return MISSING if seconds is None else _three_digits(seconds * 1e3)


def format_seconds(seconds: float | None) -> str:
    """Seconds with three significant digits."""
    return MISSING if seconds is None else _three_digits(seconds)


def format_megabytes(count: int | None) -> str:
    """Bytes as MB (10^6) with three significant digits."""
    return MISSING if count is None else _three_digits(count / 1e6)


def format_ratio(ratio: float | None) -> str:
    """Two decimals."""
    return MISSING if ratio is None else f"{ratio:.2f}"


def format_error(error: float | None) -> str:
    """One significant digit: the order of magnitude is what counts."""
    return MISSING if error is None else f"{error:.0e}"


def _three_digits(value: float) -> str:
    for decimals, limit in ((4, 0.1), (3, 1.0), (2, 10.0), (1, 100.0)):
        if abs(value) < limit:
            return f"{value:.{decimals}f}"
    return f"{value:.0f}"
