"""How is a network trained without lm.train?  In a few lines, which do what lm.train.fit does, to the bit.

    python examples/train_by_hand.py [--epochs 12] [--checkpoint run.safetensors]

A small convolutional network learns handwritten digits from 360 images of 8x8 pixels (those of `lamina demo`; UCI's
"Optical Recognition of Handwritten Digits") and reads 90 others: 93 % of them after 12 epochs, in 2 s of processor
time.
"""

import argparse
from pathlib import Path

import numpy as np

import lamina as lm
from lamina import nn

SEED = 0


def digits():
    """Training and test rows: images f32[1, 8, 8] from 0 to 1, labels."""
    with np.load(Path(lm.__file__).parent / "frontends" / "cli" / "demo" / "digits.npz") as found:
        rows = {"image": found["images"].astype(np.float32) / 16, "label": found["labels"].astype(np.int64)}
    return lm.data.split(rows, [0.8, 0.2], seed=SEED)


def network(key):
    first, second, last = lm.random.split(key, 3)
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, key=first), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(16, 32, 3, padding=1, key=second), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2),
                         nn.Linear(32 * 4 * 4, 10, key=last))


def loss(model, batch, key):
    """The mean cross-entropy of a batch, and the model with the running statistics that it left."""
    logits, model = nn.apply(model, batch["image"], key=key)
    return nn.cross_entropy(logits, batch["label"]), model


@lm.jit
def predict(model, images):
    return lm.argmax(model(images), axis=1)


def train(epochs, optimizer, train_rows, test_rows, checkpoint=None):
    """(model, losses by epoch): what fit(loss, model, optimizer, batches, epochs=..., checkpoint=...) does."""
    batches = lm.data.Batches(train_rows, 32, shuffle=True, seed=SEED, drop_last=True)
    model = network(lm.random.key(SEED))
    state = model, optimizer.init(nn.partition(model)[0]), lm.random.key(SEED)
    losses = []

    def step(state, batch):
        model, remembered, key = state
        key, own = lm.random.split(key)
        trained, rest = nn.partition(model)  # running statistics have no gradient
        def value_of(trained):
            value, model = loss(nn.combine(trained, rest), batch, own)
            return value, nn.partition(model)[1]
        (value, rest), gradients = lm.value_and_grad(value_of, has_aux=True)(trained)
        trained, remembered = optimizer.update(gradients, remembered, trained)
        return (nn.combine(trained, rest), remembered, key), value

    if checkpoint is not None and Path(checkpoint).exists():
        state, saved = lm.train.load_checkpoint(checkpoint, state)
        batches.restore(saved["batches"])
        losses = saved["losses"]
    step = lm.jit(step, donate_argnums=0)  # one program, which takes over the memory of the old state
    state = lm.tree.map(np.array, state)
    while len(losses) < epochs:
        total = 0.0
        for batch in batches:
            state, value = step(state, batch)
            total += float(value)
        losses.append(total / len(batches))
        print(f"epoch {len(losses)}: loss {losses[-1]:.3f}, test accuracy {accuracy(state[0], test_rows):.3f}")
        if checkpoint is not None:
            lm.train.save_checkpoint(checkpoint, state, {"batches": batches.state(), "losses": losses})
    return state[0], losses


def accuracy(model, rows) -> float:
    """The part of rows whose label the model finds."""
    return float(np.mean(predict(model, rows[:]["image"]) == rows[:]["label"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--checkpoint", help="a file to go on from, and to write after each epoch")
    options = parser.parse_args()
    train_rows, test_rows = digits()
    model, _ = train(options.epochs, lm.optim.AdamW(3e-3), train_rows, test_rows, options.checkpoint)
    print(f"{nn.count_parameters(model):,} parameters, {accuracy(model, test_rows):.1%} of the test images read")


if __name__ == "__main__":
    main()
