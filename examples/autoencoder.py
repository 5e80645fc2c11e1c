"""How is noise taken out of images, and how is an image found that does not belong?  By one denoising autoencoder.

    pip install scikit-learn          for the images
    python examples/autoencoder.py [--short]

A network learns to give digits back from noisy digits (Vincent and others, 2008). What is unlike what it learned it
gives back badly: here digits whose rows lie in another order. The mean squared error falls from 0.091 to 0.017, and the
area under the ROC curve is 0.996, after 100 passes in 8 s of processor time (0.020 and 0.991 after 20, --short).
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

import lamina as lm
from lamina import nn

BATCH, NOISE = 64, 0.3


class Autoencoder(nn.Module):
    """Convolutions to 32 numbers, and transposed convolutions back to an image f32[N, 1, 8, 8] in 0 .. 1."""

    def __init__(self, width: int = 16, code: int = 32, *, key):
        keys = lm.random.split(key, 6)
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 3, 2, 1, key=keys[0]), nn.BatchNorm2d(width), lm.relu,
            nn.Conv2d(width, 2 * width, 3, 2, 1, key=keys[1]), nn.BatchNorm2d(2 * width), lm.relu,
            nn.Flatten(), nn.Linear(8 * width, code, key=keys[2]))
        self.widen = nn.Linear(code, 8 * width, key=keys[3])
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, key=keys[4]), nn.BatchNorm2d(width), lm.relu,
            nn.ConvTranspose2d(width, 1, 4, 2, 1, key=keys[5]), lm.sigmoid)

    def __call__(self, x):
        return self.decoder(lm.relu(self.widen(self.encoder(x))).reshape(x.shape[0], -1, 2, 2))


def noisy(images, key):
    return images + NOISE * lm.random.normal(key, images.shape)


def train(images, epochs: int) -> Autoencoder:
    """A model trained for so many passes over the images."""
    key, steps = lm.random.key(0), len(images) // BATCH
    params, buffers = nn.partition(Autoencoder(key=key))
    optimizer = lm.optim.AdamW(lm.optim.schedules.one_cycle(5e-3, epochs * steps))

    def step(carry, at):
        params, buffers, state = carry
        batch, key = at
        x = lm.take(images, batch, axis=0)

        def loss(params):
            given, model = nn.apply(nn.combine(params, buffers), noisy(x, key))
            return nn.mse_loss(given, x), nn.partition(model)[1]
        (value, buffers), gradient = lm.value_and_grad(loss, has_aux=True)(params)
        params, state = optimizer.update(gradient, state, params)
        return (params, buffers, state), value

    @lm.jit
    def epoch(carry, key):
        first, second = lm.random.split(key)
        order = lm.random.permutation(first, len(images))[:steps * BATCH]
        return lm.scan(step, carry, (order.reshape(steps, BATCH), lm.random.split(second, steps)))
    carry = params, buffers, optimizer.init(params)
    for number in range(epochs):
        carry, losses = epoch(carry, lm.random.fold_in(key, number))
        if (number + 1) % (epochs // 5) == 0:
            print(f"epoch {number + 1:3}: mean squared error {losses.mean():.4f}")
    return nn.combine(*carry[:2])


def shuffled(images, rng) -> np.ndarray:
    """Images whose rows lie in another order."""
    return np.stack([image[:, rng.permutation(8)] for image in images])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="train for a shorter time")
    begun, rng = time.process_time(), np.random.default_rng(0)
    images, others = train_test_split((load_digits().images / 16).astype(np.float32)[:, None], test_size=360,
                                      random_state=0)
    model = lm.jit(train(images, epochs=20 if parser.parse_args().short else 100))
    seen = noisy(others, lm.random.key(1))
    before, after = (float(((x - others) ** 2).mean()) for x in (seen, model(seen)))
    for row in np.stack([others[:8, 0], seen[:8, 0].clip(0, 1), model(seen)[:8, 0]]):
        for line in row.transpose(1, 0, 2):
            print("  ".join("".join(" .:*#@"[int(min(p * 6, 5))] for p in image) for image in line))
        print()
    errors = [((model(x) - x) ** 2).mean(axis=(1, 2, 3)) for x in (others, shuffled(others, rng))]
    area = roc_auc_score(np.repeat([0, 1], len(others)), np.concatenate(errors))
    print(f"mean squared error {before:.3f} with noise, {after:.3f} without it; images that do not belong: area "
          f"{area:.3f} under the ROC curve; {time.process_time() - begun:.0f} s of processor time")


if __name__ == "__main__":
    main()
