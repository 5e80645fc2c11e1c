"""The ONNX operators, by subject: each module registers its functions in the table when it is imported."""


def load() -> None:
    """Import every module of operators once."""
    from . import (activation, arithmetic, convolution, indexing, linear, logical, normalization,  # noqa: F401
                   pooling, quantization, recurrent, reduction, resize, shape)
