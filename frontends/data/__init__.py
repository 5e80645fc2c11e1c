"""How do examples come to a training step?  Rows of arrays, or of files that are never read whole, cut into batches.

    images = {"image": lm.data.idx("train-images-idx3-ubyte"), "label": lm.data.idx("train-labels-idx1-ubyte")}
    train, test = lm.data.split(images, [0.9, 0.1], seed=0)
    for batch in lm.data.Batches(train, 64, shuffle=True, seed=0): ...

A source is a tree of arrays with one leading extent (memory-mapped files are arrays), or a `Source`.
"""

from . import augment
from .batches import Batches
from .files import cifar, idx, npy, npz
from .lines import csv, text
from .readahead import prefetch
from .sources import Source, arrays, concatenate, folds, split, windows

__all__ = ["Batches", "Source", "arrays", "augment", "cifar", "concatenate", "csv", "folds", "idx", "npy", "npz",
           "prefetch", "split", "text", "windows"]
