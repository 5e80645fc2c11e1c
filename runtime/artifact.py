"""What leaves the compiler?  An Artifact: a manifest, object code, constants. As a file: a plain ZIP, no pickle anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

FORMAT_VERSION = 1


@dataclass
class Artifact:
    """A compiled model.

    `manifest` is plain JSON data: name, format, target (triple, level, required CPU features), inputs, outputs, symbols, frame
    layout, memory plan, kernels, constants' types. `objects` are ELF objects by name; `constants` the arrays in their order.
    `state` are the arrays that a library of the model begins with, for the inputs that the manifest's "state" lists.
    `texts` are the stages for looking at (they are not saved).
    """

    manifest: dict[str, Any]
    objects: dict[str, bytes]
    constants: list[np.ndarray]
    texts: dict[str, Any] = field(default_factory=dict)
    state: list[np.ndarray] = field(default_factory=list)
