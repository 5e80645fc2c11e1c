"""What did the compiler decide, and why?  Passes leave remarks; `lamina explain` and the reports read them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Remark:
    """One decision: the `stage` that took it, what it is about (`subject`), whether it was `applied`, and the `reason`.

    `about` are the nodes that it concerns, as the stage met them.
    """

    stage: str
    subject: str
    applied: bool
    reason: str
    about: tuple = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return f"[{self.stage}] {self.subject}: {'' if self.applied else 'not '}done: {self.reason}"


@dataclass
class Remarks:
    """The remarks of one compilation, in the order in which they were left."""

    items: list[Remark] = field(default_factory=list)

    def add(self, stage: str, subject: str, applied: bool, reason: str, about: tuple = ()) -> None:
        self.items.append(Remark(stage, subject, applied, reason, about))

    def __iter__(self):
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)
