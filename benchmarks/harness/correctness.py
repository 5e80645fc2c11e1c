"""Is the contender's output right?  Its distance to the reference, relative to the reference's largest number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# f32 networks of 50 layers differ by about 1e-6 to 1e-5 between correct implementations; 1e-3 is a wrong result.
TOLERANCE = 1e-3


def relative_error(outputs: Sequence[np.ndarray], references: Sequence[np.ndarray]) -> float:
    """max |output - reference| / max |reference|, the largest over all outputs.

    A missing output, another shape, or a NaN or infinity that the reference does not have is an infinite error.
    """
    if len(outputs) != len(references):
        return float("inf")
    worst = 0.0
    for output, reference in zip(outputs, references):
        output, reference = np.asarray(output), np.asarray(reference)
        if output.shape != reference.shape:
            return float("inf")
        if not reference.size:
            continue
        output, reference = output.astype(np.float64), reference.astype(np.float64)
        finite = np.isfinite(reference)
        same_infinities = np.array_equal(output[~finite], reference[~finite], equal_nan=True)
        if not same_infinities or not np.isfinite(output[finite]).all():
            return float("inf")
        if finite.any():
            difference = np.abs(output[finite] - reference[finite]).max()
            worst = max(worst, float(difference / max(np.abs(reference[finite]).max(), np.finfo(np.float32).tiny)))
    return worst
