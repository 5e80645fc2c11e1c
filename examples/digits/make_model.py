"""How was the demo model made?  A small convolutional network learns the 8x8 handwritten digits and leaves as ONNX.

    python examples/digits/make_model.py [--out frontends/cli/demo]

Writes two files into the folder:

    digits.onnx   opset 17; input `image` float32 [batch, 1, 8, 8] with the symbolic dimension `batch`, output `logits`
                  float32 [batch, 10]. Convolution, batch normalization, relu and pooling are separate nodes on purpose,
                  so that the model shows what a compiler folds and fuses.
    digits.npz    the held-out test set: `images` uint8 [450, 1, 8, 8] with the scanner's grey levels 0..16,
                  `labels` uint8 [450]. The model expects image / 16, in float32.

Data: the test set of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, UCI Machine
Learning Repository, 1998), as `sklearn.datasets.load_digits` carries it: 1797 images of 10 classes. A quarter is held
out, stratified by class with a fixed seed. Needs torch, scikit-learn and onnx; takes about 20 seconds on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 0
GREY_LEVELS = 16  # images hold 0..16, the model sees 0..1
EPOCHS = 60
BATCH = 64
REQUIRED_ACCURACY = 0.985


class DigitNet(nn.Module):
    """Three 3x3 convolutions, each with batch normalization and relu, two 2x2 poolings, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        channels = (1, 16, 32, 64)
        self.convs = nn.ModuleList(
            nn.Conv2d(c_in, c_out, 3, padding=1) for c_in, c_out in zip(channels, channels[1:])
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[1:])
        self.pools = (False, True, True)
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(channels[-1] * 2 * 2, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [batch, 10] of images [batch, 1, 8, 8]."""
        for conv, norm, pool in zip(self.convs, self.norms, self.pools):
            x = F.relu(norm(conv(x)))
            if pool:
                x = F.max_pool2d(x, 2)
        return self.classifier(self.dropout(x.flatten(1)))


def load_split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 [n, 1, 8, 8] and labels uint8 [n]: train images, test images, train labels, test labels."""
    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    labels = digits.target.astype(np.uint8)
    return train_test_split(images, labels, test_size=0.25, random_state=SEED, stratify=labels)


def scale(images: np.ndarray) -> np.ndarray:
    """Grey levels 0..16 as float32 in 0..1: what the model takes."""
    return images.astype(np.float32) / GREY_LEVELS


def shift_images(images: torch.Tensor) -> torch.Tensor:
    """Each image moved by -1, 0 or 1 pixel in both directions: 1347 training images are few without it."""
    padded = F.pad(images, (1, 1, 1, 1))
    moves = torch.randint(0, 3, (len(images), 2))
    rows = moves[:, :1] + torch.arange(8)
    columns = moves[:, 1:] + torch.arange(8)
    shifted = padded[torch.arange(len(images))[:, None, None], 0, rows[:, :, None], columns[:, None, :]]
    # A shift that loses a stroke makes a wrong example, so only half of the images move.
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images, shifted[:, None])


def train(images: np.ndarray, labels: np.ndarray) -> DigitNet:
    """The trained network in eval mode. images uint8 [n, 1, 8, 8], labels uint8 [n]."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # one thread adds in one order: the same weights every time
    model = DigitNet()
    x, y = torch.from_numpy(scale(images)), torch.from_numpy(labels).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(model(shift_images(x[rows])), y[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def export(model: DigitNet) -> onnx.ModelProto:
    """The network as ONNX, node by node: an exporter would fold the normalizations into the convolutions."""
    nodes, weights = [], []

    def constant(name: str, value: torch.Tensor) -> str:
        weights.append(numpy_helper.from_array(value.detach().numpy(), name))
        return name

    x = "image"
    for i, (conv, norm, pool) in enumerate(zip(model.convs, model.norms, model.pools), start=1):
        conv_inputs = [x, constant(f"conv{i}.weight", conv.weight), constant(f"conv{i}.bias", conv.bias)]
        nodes.append(helper.make_node("Conv", conv_inputs, [f"conv{i}_out"], f"conv{i}",
                                      kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        statistics = [("scale", norm.weight), ("bias", norm.bias),
                      ("mean", norm.running_mean), ("variance", norm.running_var)]
        norm_inputs = [f"conv{i}_out"] + [constant(f"norm{i}.{name}", value) for name, value in statistics]
        nodes.append(helper.make_node("BatchNormalization", norm_inputs, [f"norm{i}_out"], f"norm{i}",
                                      epsilon=norm.eps))
        x = f"relu{i}_out"
        nodes.append(helper.make_node("Relu", [f"norm{i}_out"], [x], f"relu{i}"))
        if pool:
            nodes.append(helper.make_node("MaxPool", [x], [f"pool{i}_out"], f"pool{i}",
                                          kernel_shape=[2, 2], strides=[2, 2]))
            x = f"pool{i}_out"
    nodes.append(helper.make_node("Flatten", [x], ["features"], "flatten", axis=1))
    gemm_inputs = ["features", constant("classifier.weight", model.classifier.weight),
                   constant("classifier.bias", model.classifier.bias)]
    nodes.append(helper.make_node("Gemm", gemm_inputs, ["logits"], "classifier", transB=1))

    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        weights,
        doc_string="Handwritten digits 0..9 from 8x8 grey images; image = grey level 0..16 divided by 16.",
    )
    exported = helper.make_model(graph, producer_name="lamina examples/digits",
                                 opset_imports=[helper.make_opsetid("", 17)])
    exported.ir_version = 8  # the version that came with opset 17
    onnx.checker.check_model(exported, full_check=True)
    return exported


def main() -> None:
    """Train, export, check what was written, print the accuracy."""
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description="train the digits demo model and write digits.onnx and digits.npz")
    parser.add_argument("--out", type=Path, default=root / "frontends" / "cli" / "demo", help="folder to write to")
    out = parser.parse_args().out

    train_images, test_images, train_labels, test_labels = load_split()
    exported = export(train(train_images, train_labels))
    logits = ReferenceEvaluator(exported).run(None, {"image": scale(test_images)})[0]
    accuracy = float((logits.argmax(1) == test_labels).mean())
    print(f"test accuracy {accuracy:.2%} on {len(test_labels)} images (ONNX reference evaluator)")
    if accuracy < REQUIRED_ACCURACY:
        raise SystemExit(f"accuracy below {REQUIRED_ACCURACY:.1%}: nothing written")

    out.mkdir(parents=True, exist_ok=True)
    onnx.save(exported, out / "digits.onnx")
    np.savez_compressed(out / "digits.npz", images=test_images, labels=test_labels)
    for name in ("digits.onnx", "digits.npz"):
        print(f"{name}: {(out / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
