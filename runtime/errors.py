"""Which errors can running a model give?  Those of the compiler's hierarchy by name where it is there, else their own twins."""

try:
    from ..compiler.core.errors import DTypeError, FormatError, LaminaError, ShapeError, UnsupportedError
except ImportError:  # an artifact runs where the compiler was left out
    class LaminaError(Exception):
        """Base of every error that lamina raises on purpose."""

        def __init__(self, message: str, *, hint: str | None = None, **_):
            super().__init__(message + (f"\n  hint: {hint}" if hint else ""))

    class ShapeError(LaminaError, ValueError):
        """Shapes, ranks or dim facts that do not fit."""

    class DTypeError(LaminaError, TypeError):
        """Dtypes that do not fit."""

    class FormatError(LaminaError, ValueError):
        """A file that can't be read."""

    class UnsupportedError(LaminaError):
        """What lamina does not support."""
