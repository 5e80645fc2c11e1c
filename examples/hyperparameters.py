"""Which learning rate is best?  Many networks trained at once, one for each rate, by `vmap`: one program for all.

    pip install scikit-learn          for the images
    python examples/hyperparameters.py [--short]

A network of one hidden layer on 1,797 digits; the rate that is best on a validation part is then judged on a test part:
95.8 %. 17 networks take 2 s of processor time.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lamina as lm
from lamina import nn


def make_search(images, classes, validation, validation_classes, steps: int):
    """The function from rates f32[N] to N trained networks (a tree, each leaf with N in front) and their accuracies."""
    def trained(rate):
        first, second = lm.random.split(lm.random.key(0))
        model = nn.Sequential(nn.Linear(64, 32, key=first), lm.relu, nn.Linear(32, 10, key=second))
        optimizer = lm.optim.SGD(rate, momentum=0.9)

        def step(carry, _):
            model, state = carry
            gradient = lm.grad(lambda model: nn.cross_entropy(model(images), classes))(model)
            return optimizer.update(gradient, state, model), None
        model = lm.scan(step, (model, optimizer.init(model)), length=steps)[0][0]
        return model, lm.mean(lm.argmax(model(validation), axis=1) == validation_classes)
    return lm.jit(lm.vmap(trained))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer steps, fewer rates")
    short, begun, digits = parser.parse_args().short, time.process_time(), load_digits()
    x, test, y, test_classes = train_test_split((digits.data / 16).astype(np.float32), digits.target, test_size=360,
                                                random_state=0, stratify=digits.target)
    x, validation, y, validation_classes = train_test_split(x, y, test_size=360, random_state=1, stratify=y)
    rates = np.logspace(-3, 1, 9 if short else 17).astype(np.float32)
    models, shares = make_search(x, y, validation, validation_classes, 60 if short else 200)(rates)
    for rate, share in zip(rates, shares):
        print(f"{rate:8.4f} {share:6.1%} {'#' * int(40 * share)}")
    best = int(np.argmax(shares))
    model = lm.tree.map(lambda leaf: leaf[best], models)
    right = (model(test).argmax(axis=1) == test_classes).mean()
    print(f"best rate {rates[best]:.3f}: {right:.1%} of the test images; {len(rates)} networks in "
          f"{time.process_time() - begun:.0f} s of processor time")


if __name__ == "__main__":
    main()
