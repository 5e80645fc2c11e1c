"""How does a network learn from tables?  Breast cancer told from properties of cells, and the course of diabetes.

    pip install scikit-learn          for the tables
    python examples/tabular.py [--short]

A classifier and a regression, each against a linear model, on a fifth of the rows that was not learned from: 97.4 %
right, and R^2 = 0.37, in 2 s of processor time. The widths and the number of steps were chosen by hand.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import train_test_split

import lamina as lm
from lamina import nn


def network(inputs: int, outputs: int, width: int, key) -> nn.Sequential:
    """Two hidden layers with dropout; a linear model where the width is 0."""
    keys = lm.random.split(key, 3)
    if width == 0:
        return nn.Sequential(nn.Linear(inputs, outputs, key=keys[0]))
    return nn.Sequential(nn.Linear(inputs, width, key=keys[0]), lm.relu, nn.Dropout(0.3),
                         nn.Linear(width, width, key=keys[1]), lm.relu, nn.Dropout(0.3),
                         nn.Linear(width, outputs, key=keys[2]))


def fit(model, loss_of, x, y, steps: int, weight_decay: float):
    """The model after so many steps of AdamW on all rows at once: one program with a loop in it."""
    optimizer = lm.optim.AdamW(lm.optim.schedules.cosine(3e-3, steps), weight_decay=weight_decay)

    @lm.jit
    def run(model, key):
        def step(carry, key):
            model, state = carry

            def loss(model):
                return loss_of(nn.apply(model, x, key=key)[0], y)
            return optimizer.update(lm.grad(loss)(model), state, model), None
        return lm.scan(step, (model, optimizer.init(model)), lm.random.split(key, steps))[0][0]
    return run(model, lm.random.key(1))


def tables(load, **options):
    """Rows and targets to learn from and to test, the columns standardized by the former."""
    rows, targets = load(return_X_y=True)
    x, test_x, y, test_y = train_test_split(rows, targets, test_size=0.2, random_state=0, **options)
    mean, deviation = x.mean(0), x.std(0)
    return (*(((a - mean) / deviation).astype(np.float32) for a in (x, test_x)), y, test_y)


def cancer(steps: int, width: int) -> float:
    """The share of test rows told rightly as malignant or benign."""
    x, test_x, y, test_y = tables(load_breast_cancer)
    model = fit(network(x.shape[1], 2, width, lm.random.key(0)), nn.cross_entropy, x, y, steps, weight_decay=0.1)
    return float((model(test_x).argmax(axis=1) == test_y).mean())


def diabetes(steps: int, width: int) -> float:
    """The share of the variance of the disease's course that is explained (R^2)."""
    x, test_x, y, test_y = tables(load_diabetes)
    mean, deviation = y.mean(), y.std()
    target = ((y - mean) / deviation).astype(np.float32)[:, None]
    model = fit(network(x.shape[1], 1, width, lm.random.key(0)), nn.mse_loss, x, target, steps, weight_decay=1.0)
    error = model(test_x)[:, 0] * deviation + mean - test_y
    return float(1 - (error ** 2).sum() / ((test_y - test_y.mean()) ** 2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="train for a shorter time")
    steps, begun = 100 if parser.parse_args().short else 150, time.process_time()
    print(f"cancer: {cancer(steps, 64):.1%} right, {cancer(steps, 0):.1%} by a linear model; "
          f"diabetes: R^2 {diabetes(steps, 16):.2f}, {diabetes(steps, 0):.2f} by a linear model; "
          f"{time.process_time() - begun:.0f} s of processor time")


if __name__ == "__main__":
    main()
