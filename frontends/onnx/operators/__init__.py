"""The ONNX operators, by subject: each module registers its functions in the table when it is imported."""


def load() -> None:
    """Import every module of operators once."""
    from . import (activation, arithmetic, attention, control, convolution, indexing, linear, logical,  # noqa: F401
                   loss, normalization, pooling, quantization, recurrent, reduction, resize, sampling, sequence,
                   shape, signal)
