"""How does a user see that training goes on?  A bar with the loss, on a terminal alone."""

from __future__ import annotations

import sys


class ProgressBar:
    """A context whose `update` shows how far an epoch is, on standard error: where that is a terminal, or as `is_shown`
    says."""

    def __init__(self, epochs: int, is_shown: bool | None = None):
        self.epochs = epochs
        self.is_shown = sys.stderr.isatty() if is_shown is None else is_shown
        self.display = None

    def __enter__(self) -> "ProgressBar":
        if self.is_shown:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
            self.display = Progress(TextColumn("{task.description}", markup=False), BarColumn(24), MofNCompleteColumn(),
                                    TimeRemainingColumn(), TextColumn("{task.fields[text]}", markup=False),
                                    console=Console(file=sys.stderr))
            self.display.start()
            self.task = self.display.add_task("", total=None, text="")
        return self

    def update(self, epoch: int, batch: int, batches: int | None, loss: float) -> None:
        """`batch` of `batches` of this epoch (from 0) are done."""
        if self.display is not None:
            self.display.update(self.task, description=f"epoch {epoch + 1}/{self.epochs}", completed=batch,
                                total=batches, text=f"loss {loss:.4g}")

    def finish_epoch(self, epoch: int, logs: dict) -> None:
        """Leave a line with what an epoch reached above the bar."""
        if self.display is not None:
            values = "  ".join(f"{name} {value:.4g}" for name, value in logs.items() if isinstance(value, float))
            self.display.console.print(f"epoch {epoch + 1}/{self.epochs}  {values}", markup=False, highlight=False)

    def __exit__(self, *_) -> None:
        if self.display is not None:
            self.display.stop()
