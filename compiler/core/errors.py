"""Which errors can a user of lamina get?  One hierarchy; each message says what, where and a way out."""

from __future__ import annotations


class LaminaError(Exception):
    """Base of every error that lamina raises on purpose.

    `location` is the user's line (a `Location`) where known, `hint` a way out in one sentence.
    """

    def __init__(self, message: str, *, location=None, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = hint

    def __str__(self) -> str:
        text = self.message
        if self.location is not None and str(self.location):
            text += f"\n  at {self.location}"
        if self.hint:
            text += f"\n  hint: {self.hint}"
        return text


class TraceError(LaminaError):
    """A Python function can't be traced: control flow on a traced value, a leaked tracer, a side effect."""


class ShapeError(LaminaError, ValueError):
    """Shapes, ranks or dim facts that do not fit."""


class DTypeError(LaminaError, TypeError):
    """Dtypes that do not fit."""


class UnsupportedError(LaminaError):
    """A model or feature that lamina does not support; `problems` lists every one found."""

    def __init__(self, message: str, *, problems: tuple = (), location=None, hint: str | None = None):
        super().__init__(message, location=location, hint=hint)
        self.problems = tuple(problems)


class VerifyError(LaminaError):
    """An IR breaks its own rules: a bug of a pass, or a hand-written text that is wrong."""


class FormatError(LaminaError, ValueError):
    """A file or text that can't be read: truncated, corrupt, of another version."""


class BudgetError(LaminaError):
    """The model does not fit the memory or time allowed; `needed` are the bytes that it takes, where that is known."""

    def __init__(self, message: str, *, needed: int | None = None, location=None, hint: str | None = None):
        super().__init__(message, location=location, hint=hint)
        self.needed = needed


class NanError(LaminaError, FloatingPointError):
    """A call gave a NaN, and `Options(check_nans=True)` asks where it comes from.

    `output` is the first output that holds it. `operator` made it, of numbers alone, as a value of type `type`;
    `location` is the user's line, and `backward_of` the operator whose derivative the code there computes, "" where it
    is forward code. `operator` is "" where an input of the call, `input`, held the NaN already.
    """

    def __init__(self, message: str, *, output: str, operator: str = "", type=None, backward_of: str = "",
                 input: str = "", location=None, hint: str | None = None):
        super().__init__(message, location=location, hint=hint)
        self.output, self.operator, self.type, self.backward_of, self.input = output, operator, type, backward_of, input


class CompilerError(LaminaError):
    """An internal error of the compiler; names the stage."""
