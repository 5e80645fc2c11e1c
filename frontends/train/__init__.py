"""How is a model trained without writing the loop?  `fit`, and the parts that it is made of, which serve alone as well.

    result = lm.train.fit(loss, model, lm.optim.Adam(1e-3), batches, epochs=10, checkpoint="run.safetensors")

A few lines do all of it by hand: examples/train_by_hand.py.
"""

from .checkpoint import load_checkpoint, save_checkpoint
from .fit import EarlyStopping, Result, fit
from .metrics import (F1, Accuracy, ConfusionMatrix, Evaluation, Mean, MeanAbsoluteError, MeanSquaredError, Metric,
                      Perplexity, Precision, Recall)
from .plot import plot
from .state import State, start, step

__all__ = ["F1", "Accuracy", "ConfusionMatrix", "EarlyStopping", "Evaluation", "Mean", "MeanAbsoluteError",
           "MeanSquaredError", "Metric", "Perplexity", "Precision", "Recall", "Result", "State", "fit",
           "load_checkpoint", "plot", "save_checkpoint", "start", "step"]
