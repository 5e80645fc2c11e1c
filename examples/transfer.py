"""How does a network learn a new task from a few examples?  Frozen but for its head, then fine-tuned as a whole.

    pip install scikit-learn          for the images
    python examples/transfer.py [--short]

A convolutional network learns to read digits. Then it is asked another question, whether a digit is even, with 30
images as examples: it gets a new last layer, trained alone (`nn.partition` freezes the rest), and then everything is
trained a little: right for 92.2 % of 360 others, and 93.6 %. A network that begins from nothing, with the same images
and as many steps, reaches 83.6 %. All takes 9 s of processor time.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lamina as lm
from lamina import nn

FEW = 30  # images for the new question


def network(key, classes: int) -> nn.Sequential:
    """Images f32[N, 1, 8, 8] to logits f32[N, classes]."""
    keys = lm.random.split(key, 3)
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1, key=keys[0]), nn.BatchNorm2d(32), lm.relu, nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1, key=keys[1]), nn.BatchNorm2d(64), lm.relu,
                         nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, classes, key=keys[2]))


def is_head(name: str) -> bool:
    return name.startswith("9.")


def train(model, images, classes, steps: int, rate: float, trainable=None):
    """The model after so many steps on batches of 64 images; `trainable(name)` says which parameters change."""
    params, rest = nn.partition(model, trainable)
    optimizer = lm.optim.AdamW(lm.optim.schedules.cosine(rate, steps))

    @lm.jit
    def run(params, rest, key):
        def step(carry, key):
            params, rest, state = carry
            batch = lm.random.choice(key, len(images), (64,))
            x, y = lm.take(images, batch, axis=0), lm.take(classes, batch)

            def loss(params):
                logits, model = nn.apply(nn.combine(params, rest), x)
                return nn.cross_entropy(logits, y), nn.partition(model, trainable)[1]
            gradient, rest = lm.grad(loss, has_aux=True)(params)
            params, state = optimizer.update(gradient, state, params)
            return (params, rest, state), None
        return lm.scan(step, (params, rest, optimizer.init(params)), lm.random.split(key, steps))[0]
    return nn.combine(*run(params, rest, lm.random.key(1))[:2])


def share(model, images, classes) -> float:
    return float((model(images).argmax(axis=1) == classes).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="train for a shorter time")
    steps, begun, digits = 100 if parser.parse_args().short else 300, time.process_time(), load_digits()
    images, test, classes, test_classes = train_test_split((digits.images / 16).astype(np.float32)[:, None],
                                                           digits.target, test_size=360, random_state=0)
    learned = train(network(lm.random.key(0), 10), images, classes, steps, 3e-3)
    print(f"digits: {share(learned, test, test_classes):.1%} right")

    few, is_even, test_is_even = images[:FEW], 1 - classes[:FEW] % 2, 1 - test_classes % 2
    head = learned.replace(**{"9": nn.Linear(256, 2, key=lm.random.key(2))})
    frozen = train(head, few, is_even, steps // 2, 1e-2, trainable=is_head)
    assert np.array_equal(frozen[0].weight, learned[0].weight)
    tuned = train(frozen, few, is_even, steps // 2, 3e-4)
    fresh = train(network(lm.random.key(3), 2), few, is_even, steps, 3e-3)
    results = ", ".join(f"{share(m, test, test_is_even):.1%} {name}" for m, name in
                        ((frozen, "with a new head"), (tuned, "fine-tuned"), (fresh, "from nothing")))
    print(f"even or odd, from {FEW} images: {results}; {time.process_time() - begun:.0f} s of processor time")


if __name__ == "__main__":
    main()
