"""How is a residual network trained?  With `lm.jit` over a whole pass: the loop over batches is in the program, too.

    pip install scikit-learn          for the images
    python examples/resnet.py [--short]

Residual blocks (He and others, "Deep residual learning for image recognition", 2016) on 1,797 digits of 8 x 8 pixels:
99.2 % of the 360 test images after 8 passes (--short) in 10 s of processor time, and after 30 in 11 s.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lamina as lm
from lamina import nn

BATCH = 64


class Block(nn.Module):
    """Two convolutions around which the input goes, halved in extent and widened where the strides and widths say."""

    def __init__(self, channels: int, width: int, stride: int = 1, *, key):
        keys = lm.random.split(key, 3)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False, key=keys[0])
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False, key=keys[1])
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.downsample = (None if stride == 1 and channels == width else nn.Sequential(
            nn.Conv2d(channels, width, 1, stride, bias=False, key=keys[2]), nn.BatchNorm2d(width)))

    def __call__(self, x):
        around = x if self.downsample is None else self.downsample(x)
        return lm.relu(around + self.bn2(self.conv2(lm.relu(self.bn1(self.conv1(x))))))


class ResNet(nn.Module):
    """A stem, residual blocks of growing width, and an average over places."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64), classes: int = 10, *, key):
        keys = lm.random.split(key, len(widths) + 2)
        self.stem = nn.Sequential(nn.Conv2d(1, widths[0], 3, padding=1, bias=False, key=keys[0]),
                                  nn.BatchNorm2d(widths[0]), lm.relu)
        self.blocks = [Block(before, width, 1 if i == 0 else 2, key=keys[i + 1])
                       for i, (before, width) in enumerate(zip((widths[0], *widths), widths))]
        self.fc = nn.Linear(widths[-1], classes, key=keys[-1])

    def __call__(self, x):
        """Logits f32[N, 10] of images f32[N, 1, 8, 8]."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.fc(lm.global_avg_pool(x, keepdims=False))


def train(images, classes, epochs: int, seed: int = 0) -> ResNet:
    """A network trained for so many passes over the images."""
    key, steps = lm.random.key(seed), len(images) // BATCH
    optimizer = lm.optim.SGD(lm.optim.schedules.one_cycle(0.2, epochs * steps), momentum=0.9, nesterov=True,
                             weight_decay=5e-4)
    params, buffers = nn.partition(ResNet(key=key))
    state = optimizer.init(params)

    def step(carry, batch):
        params, buffers, state = carry
        x, y = lm.take(images, batch, axis=0), lm.take(classes, batch)

        def loss(params):
            logits, model = nn.apply(nn.combine(params, buffers), x)
            return nn.cross_entropy(logits, y, label_smoothing=0.1), nn.partition(model)[1]
        (value, buffers), gradient = lm.value_and_grad(loss, has_aux=True)(params)
        params, state = optimizer.update(gradient, state, params)
        return (params, buffers, state), value

    @lm.jit
    def epoch(carry, key):
        order = lm.random.permutation(key, len(images))[:steps * BATCH]
        return lm.scan(step, carry, order.reshape(steps, BATCH))
    carry = params, buffers, state
    for number in range(epochs):
        carry, losses = epoch(carry, lm.random.fold_in(key, number))
        print(f"epoch {number + 1:2}: mean loss {losses.mean():.3f}")
    return nn.combine(*carry[:2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="train for a shorter time")
    begun = time.process_time()
    digits = load_digits()
    split = train_test_split((digits.images / 16).astype(np.float32)[:, None], digits.target, test_size=360,
                             random_state=0, stratify=digits.target)
    images, test_images, classes, test_classes = split
    model = train(images, classes, epochs=8 if parser.parse_args().short else 30)
    right = lm.jit(model)(test_images).argmax(axis=1) == test_classes
    print(f"{right.mean():.2%} of {len(right)} test images in {time.process_time() - begun:.0f} s of processor time")


if __name__ == "__main__":
    main()
