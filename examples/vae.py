"""How does a variational autoencoder learn a space of images?  On digits, its two latent dimensions drawn as a map.

    pip install scikit-learn          for the images
    python examples/vae.py [--short]

Kingma and Welling, "Auto-encoding variational Bayes", 2014. It is judged by the evidence lower bound on images that it
has not seen: -24.6 nats an image after 200 passes in 2 s of processor time (-25.3 after 40, --short), where each pixel
by itself costs 27.2.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lamina as lm
from lamina import nn

BATCH, PIXELS = 64, 64


class VariationalAutoencoder(nn.Module):
    """An encoder to the mean and log variance of a latent normal distribution, and a decoder to pixels' logits."""

    def __init__(self, latent: int = 2, width: int = 128, *, key):
        keys = lm.random.split(key, 4)
        self.encoder = nn.Sequential(nn.Linear(PIXELS, width, key=keys[0]), lm.relu,
                                     nn.Linear(width, 2 * latent, key=keys[1]))
        self.decoder = nn.Sequential(nn.Linear(latent, width, key=keys[2]), lm.relu,
                                     nn.Linear(width, PIXELS, key=keys[3]))

    def __call__(self, x, key):
        """(logits of the pixels, mean, log variance) of x f32[N, 64] in 0 .. 1, with a latent sample drawn."""
        mean, log_variance = lm.split(self.encoder(x), 2, axis=-1)
        sample = mean + lm.exp(0.5 * log_variance) * lm.random.normal(key, mean.shape)
        return self.decoder(sample), mean, log_variance


def bound(model, x, key):
    """The negative evidence lower bound in nats an image: what the pixels cost, and what the latent sample costs."""
    logits, mean, log_variance = model(x, key)
    pixels = nn.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    divergence = -0.5 * lm.sum(1 + log_variance - mean ** 2 - lm.exp(log_variance))
    return (pixels + divergence) / x.shape[0]


def train(images, epochs: int) -> VariationalAutoencoder:
    """A model trained for so many passes over the images."""
    key, steps = lm.random.key(0), len(images) // BATCH
    model, optimizer = VariationalAutoencoder(key=key), lm.optim.Adam(2e-3)

    def step(carry, at):
        model, state = carry
        batch, key = at
        value, gradient = lm.value_and_grad(bound)(model, lm.take(images, batch, axis=0), key)
        return optimizer.update(gradient, state, model), value

    @lm.jit
    def epoch(carry, key):
        first, second = lm.random.split(key)
        order = lm.random.permutation(first, len(images))[:steps * BATCH]
        return lm.scan(step, carry, (order.reshape(steps, BATCH), lm.random.split(second, steps)))
    carry = model, optimizer.init(model)
    for number in range(epochs):
        carry, losses = epoch(carry, lm.random.fold_in(key, number))
        if (number + 1) % (epochs // 5) == 0:
            print(f"epoch {number + 1:3}: bound {-losses.mean():.2f} nats")
    return carry[0]


def drawn(images) -> str:
    """Rows of images f32[rows, columns, 64] in characters."""
    return "\n".join(" ".join("".join(" .:*#@"[int(min(p * 6, 5))] for p in image) for image in line)
                     for row in images.reshape(*images.shape[:2], 8, 8) for line in row.transpose(1, 0, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="train for a shorter time")
    begun = time.process_time()
    images, others = train_test_split((load_digits().data / 16).astype(np.float32), test_size=360, random_state=0)
    model = train(images, epochs=40 if parser.parse_args().short else 200)
    places = np.stack(np.meshgrid(np.linspace(-2, 2, 10), np.linspace(-2, 2, 6)), axis=-1).astype(np.float32)
    print(drawn(lm.sigmoid(model.decoder(places))))
    found = np.mean([bound(model, others, lm.random.key(i)) for i in range(10)])
    rate = np.clip(images.mean(0), 1e-3, 1 - 1e-3)
    apart = -(others * np.log(rate) + (1 - others) * np.log(1 - rate)).sum(1).mean()
    print(f"test bound {-found:.2f} nats, {-apart:.2f} with each pixel by itself, "
          f"in {time.process_time() - begun:.0f} s of processor time")


if __name__ == "__main__":
    main()
