"""Does the example learn from files of MNIST's and CIFAR-10's formats?  Here they hold scikit-learn's digits."""

import gzip
import re
import struct

import numpy as np
import pytest

import lamina as lm


def digits():
    """(training images uint8[n, 8, 8], labels, test images, labels)."""
    datasets = pytest.importorskip("sklearn.datasets")
    from sklearn.model_selection import train_test_split
    found = datasets.load_digits()
    images, test_images, labels, test_labels = train_test_split(
        (found.images * 15.9375).astype(np.uint8), found.target, test_size=360, random_state=0, stratify=found.target)
    return images, labels, test_images, test_labels


def write_mnist(folder, parts, packed: bool = False):
    """MNIST's four files: each pixel 3 x 3 times, with a border of two."""
    for name, images, labels in (("train", *parts[:2]), ("t10k", *parts[2:])):
        images = np.pad(images.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
        for kind, code, array in (("images-idx3", 3, images), ("labels-idx1", 1, labels.astype(np.uint8))):
            data = bytes([0, 0, 8, code]) + struct.pack(f">{code}i", *array.shape) + array.tobytes()
            path = folder / f"{name}-{kind}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)


def write_cifar(folder, parts):
    """CIFAR-10's files: each pixel 4 x 4 times, in a color of the image's own on another."""
    rng = np.random.default_rng(0)

    def rows(images, labels):
        ink, paper = (rng.uniform(*ends, (len(images), 3, 1, 1)) for ends in ((0.6, 1.0), (0.0, 0.4)))
        shade = images[:, None].repeat(4, 2).repeat(4, 3) / 255
        colored = ((paper + (ink - paper) * shade) * 255).astype(np.uint8)
        return b"".join(bytes([label]) + image.tobytes() for label, image in zip(labels, colored))
    images, labels, test_images, test_labels = parts
    for number, part in enumerate(np.array_split(np.arange(len(images)), 5), 1):
        (folder / f"data_batch_{number}.bin").write_bytes(rows(images[part], labels[part]))
    (folder / "test_batch.bin").write_bytes(rows(test_images, test_labels))


@pytest.mark.parametrize("packed", [False, True])
def test_mnists_files_are_read_as_they_are_published(example, tmp_path, packed):
    images, labels, test_images, test_labels = digits()
    write_mnist(tmp_path, (images, labels, test_images, test_labels), packed)
    rows, test_rows = example("image_files").load(tmp_path)
    assert (len(rows), len(test_rows)) == (1437, 360)
    assert rows[5]["image"].shape == (28, 28) and rows[5]["image"][2:26:3, 2:26:3].tolist() == images[5].tolist()
    assert test_rows[:]["label"].tolist() == test_labels.tolist()


@pytest.mark.parametrize("write, least", [(write_mnist, 95), (write_cifar, 70)])
def test_digits_in_such_files_are_learned(example, run_main, tmp_path, write, least):
    write(tmp_path, digits())
    text = run_main(example("image_files"), str(tmp_path), "--short").strip().splitlines()[-1]
    right = re.match(r"([\d.]+)% of 360 test images in \d+ s of processor time$", text)
    assert right and float(right[1]) >= least


def test_a_folder_without_the_files_is_told(example, run_main, tmp_path):
    with pytest.raises(lm.LaminaError, match="there is no file .*train-images-idx3-ubyte"):
        run_main(example("image_files"), str(tmp_path))
