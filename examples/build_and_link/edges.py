"""How does a function become a C library?  Edges of an image of any size: libedges.so and its header edges.h.

    python edges.py
"""

import numpy as np

import lamina as lm

SOBEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)


def edges(image):
    """How fast the brightness of a grey image f32[height, width] changes at each pixel: the length of its gradient
    (Sobel and Feldman, 1968)."""
    across, down = lm.conv(image[None, None], np.stack([SOBEL, SOBEL.T])[:, None], padding=1)[0]
    return {"strength": lm.hypot(across, down)}


if __name__ == "__main__":
    image = lm.TensorSpec(("height=1..4096", "width=1..4096"), "float32", "image")
    print(lm.build(edges, "libedges.so", image))
