"""How is a network trained on MNIST or CIFAR-10, from the files as they are published?  Mapped, and never read whole.

    python examples/image_files.py FOLDER [--epochs N] [--short]

FOLDER holds MNIST's four IDX files (plain or .gz; Fashion-MNIST's have the same names) or the binary version of
CIFAR-10. What it reaches on those was not measured: they were not at hand. On the 1,797 digits of scikit-learn,
enlarged to 28 x 28 and written in MNIST's format, it reads all of 360 that it did not learn from after 10 passes in
30 s of processor time (98.3 % after 3, --short, in 13 s); enlarged to 32 x 32, in colors and in CIFAR-10's format,
97.8 % in 40 s (84.4 % in 18 s).
"""

import argparse
import time
from pathlib import Path

import lamina as lm
from lamina import nn

CIFAR = [f"data_batch_{i}.bin" for i in range(1, 6)]


def load(folder: Path):
    """(rows to train on, rows to test with): "image" uint8[n, height, width] or [n, 3, height, width], and "label"."""
    if (folder / "test_batch.bin").exists():
        batches = [lm.data.cifar(folder / name) for name in CIFAR if (folder / name).exists()]
        return lm.data.concatenate(batches), lm.data.arrays(lm.data.cifar(folder / "test_batch.bin"))

    def part(name: str):
        files = [next((p for p in (folder / f"{name}-{kind}-ubyte", folder / f"{name}-{kind}-ubyte.gz") if p.exists()),
                      folder / f"{name}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")]
        return lm.data.arrays({"image": lm.data.idx(files[0]), "label": lm.data.idx(files[1])})
    return part("train"), part("t10k")


class Network(nn.Module):
    """Three stages of two convolutions each, the second with the input around it; then an average over places."""

    def __init__(self, channels: int, width: int = 24, *, key):
        keys = iter(lm.random.split(key, 7))
        self.enter, self.inner = [], []
        for before, after in ((channels, width), (width, 2 * width), (2 * width, 4 * width)):
            self.enter.append(self.convolution(before, after, next(keys)))
            self.inner.append(self.convolution(after, after, next(keys)))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10, key=next(keys)))

    @staticmethod
    def convolution(before: int, after: int, key) -> nn.Sequential:
        conv = nn.Conv2d(before, after, 3, padding=1, bias=False, key=key)
        return nn.Sequential(conv, nn.BatchNorm2d(after), lm.relu)

    def __call__(self, x):
        """Logits f32[n, 10] of images f32[n, channels, height, width]."""
        for enter, inner in zip(self.enter, self.inner):
            x = enter(x)
            x = self.pool(x + inner(x))
        return self.head(x)


def pixels(image):
    """Images as f32[n, channels, height, width] about 0."""
    image = image.astype("float32") / 127.5 - 1
    return image[:, None] if image.ndim == 3 else image


def loss(model, batch, key):
    """The cross-entropy of a batch whose images are moved a little (in colors turned round, too), and the model."""
    image = pixels(batch["image"])
    moved, turned, own = lm.random.split(key, 3)
    image = lm.data.augment.crop(moved, image, image.shape[2:], padding=image.shape[2] // 10)
    if image.shape[1] == 3:
        image = lm.data.augment.flip(turned, image)
    logits, model = nn.apply(model, image, key=own)
    return nn.cross_entropy(logits, batch["label"].astype("int32"), label_smoothing=0.1), model


def train(rows, test_rows, epochs: int, batch_size: int = 64, seed: int = 0, progress: bool | None = None):
    """(the model, the part of the test rows that it reads rightly)."""
    first = rows[:1]["image"]
    model = Network(3 if first.ndim == 4 else 1, key=lm.random.key(seed))
    batches = lm.data.Batches(rows, batch_size, shuffle=True, seed=seed, drop_last=True)
    optimizer = lm.optim.AdamW(lm.optim.schedules.one_cycle(6e-3, epochs * len(batches)), weight_decay=1e-2)
    result = lm.train.fit(loss, model, optimizer, batches, epochs=epochs, key=seed, progress=progress)
    evaluation = lm.train.Evaluation(lambda model, batch: (model(pixels(batch["image"])), batch["label"]),
                                     lm.data.Batches(test_rows, 200), {"accuracy": lm.train.Accuracy()})
    return result.model, evaluation(result.model)["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the files of MNIST or CIFAR-10 are")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the images")
    parser.add_argument("--short", action="store_true", help="three passes over 1,500 images at most")
    options = parser.parse_args()
    begun = time.process_time()
    rows, test_rows = load(options.folder)
    if options.short:
        rows = rows.take(range(min(1500, len(rows))))
    _, right = train(rows, test_rows, 3 if options.short else options.epochs)
    print(f"{right:.2%} of {len(test_rows)} test images in {time.process_time() - begun:.0f} s of processor time")


if __name__ == "__main__":
    main()
