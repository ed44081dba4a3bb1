# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy==2.4.6",
#   "onnx==1.23.2",
#   "onnxruntime==1.31.1",
#   "scikit-learn==1.9.1",
#   "torch==2.13.0",
# ]
# ///
"""Train the network of the demo and write its files next to this script.

Run with `uv run demo/digits/train.py`; it takes about a minute on one core and writes

* `digits.onnx`: the network, reading raw pixels (0 to 16) and giving a label and ten probabilities;
* `held_back.npz`: the 360 digits that training never saw, with their labels;
* the two accuracy lines of `README.md`.

Seeds, split and number of epochs are fixed, and one thread adds up the sums in one order, so a second run
on the same machine writes the same bytes. A processor with other vector instructions may round otherwise
and give a network that differs in its last bits.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, train_test_split
from torch import nn

FOLDER = Path(__file__).parent
MODEL = FOLDER / "digits.onnx"
HELD_BACK = FOLDER / "held_back.npz"
README = FOLDER / "README.md"

SEED = 2026
HELD_BACK_IMAGES = 360
FOLDS = 4
EPOCHS = 60
BATCH_SIZE = 64
PEAK_LEARNING_RATE = 0.01
BRIGHTEST_PIXEL = 16.0

OPSET = 17
IR_VERSION = 8  # the version that came with opset 17: older runtimes read it too


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)

    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    seen, held_back, seen_labels, held_back_labels = train_test_split(
        images, labels, test_size=HELD_BACK_IMAGES, stratify=labels, random_state=SEED
    )

    MODEL.write_bytes(onnx_model(trained_network(seen, seen_labels)))
    # Not compressed: the bytes would follow the zlib of the machine.
    np.savez(HELD_BACK, images=held_back, labels=held_back_labels)

    correct = count_correct(MODEL.read_bytes(), held_back, held_back_labels)
    write_accuracy("Held-back accuracy", correct, len(held_back))
    correct = count_correct_in_folds(seen, seen_labels)
    write_accuracy("Cross-validated accuracy", correct, len(seen))


def trained_network(images: np.ndarray, labels: np.ndarray) -> nn.Sequential:
    """Return a small convolutional network fitted to `images` (n, 8, 8) and `labels` (n,).

    Each epoch shows every image moved by at most one pixel, because the digits fill their 8 x 8 frames
    unevenly and the network would otherwise learn the frame.
    """
    torch.manual_seed(SEED)
    network = nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 24, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(24 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    pixels = torch.from_numpy(images).float().div(BRIGHTEST_PIXEL).unsqueeze(1)
    targets = torch.from_numpy(labels).long()
    batches_per_epoch = -(-len(pixels) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, epochs=EPOCHS, steps_per_epoch=batches_per_epoch
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(pixels)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss_of(network(moved(pixels[batch])), targets[batch]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def moved(pixels: torch.Tensor) -> torch.Tensor:
    """Return `pixels` (n, 1, 8, 8), each image moved by -1, 0 or 1 pixel in both directions."""
    framed = nn.functional.pad(pixels, (1, 1, 1, 1))
    offsets = torch.randint(0, 3, (len(pixels), 2)).tolist()
    return torch.stack([framed[i, :, y : y + 8, x : x + 8] for i, (y, x) in enumerate(offsets)])


def onnx_model(network: nn.Sequential) -> bytes:
    """Return the network with its scaling before it and softmax and argmax behind it.

    Written with `onnx.helper`, not by torch's exporter: a dozen nodes with readable names, and no bytes that
    change with the version of the exporter. Dropout does nothing at inference and is left out.
    """
    first, second, hidden, last = (m for m in network if isinstance(m, nn.Conv2d | nn.Linear))
    weights = {
        "as_one_channel": np.array([-1, 1, 8, 8], dtype=np.int64),
        "brightest_pixel": np.array(BRIGHTEST_PIXEL, dtype=np.float32),
    }
    for name, layer in {"first": first, "second": second, "hidden": hidden, "last": last}.items():
        weights[f"{name}.weight"] = layer.weight.detach().numpy()
        weights[f"{name}.bias"] = layer.bias.detach().numpy()

    node = helper.make_node
    nodes = [
        node("Reshape", ["image", "as_one_channel"], ["channel"]),
        node("Div", ["channel", "brightest_pixel"], ["scaled"]),
        node("Conv", ["scaled", "first.weight", "first.bias"], ["first"], pads=[1, 1, 1, 1]),
        node("Relu", ["first"], ["first.on"]),
        node("Conv", ["first.on", "second.weight", "second.bias"], ["second"], pads=[1, 1, 1, 1]),
        node("Relu", ["second"], ["second.on"]),
        node("MaxPool", ["second.on"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["pooled"], ["features"]),
        node("Gemm", ["features", "hidden.weight", "hidden.bias"], ["hidden"], transB=1),
        node("Relu", ["hidden"], ["hidden.on"]),
        node("Gemm", ["hidden.on", "last.weight", "last.bias"], ["scores"], transB=1),
        node("Softmax", ["scores"], ["probabilities"], axis=1),
        node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 8, 8])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        graph, producer_name="blindai-demo", opset_imports=opsets, ir_version=IR_VERSION
    )
    onnx.checker.check_model(model, full_check=True)
    file: bytes = model.SerializeToString(deterministic=True)
    return file


def count_correct(model: bytes, images: np.ndarray, labels: np.ndarray) -> int:
    """Return how many of `images` the ONNX `model`, not the network it was made from, labels rightly."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (predicted,) = session.run(["label"], {"image": images.astype(np.float32)})
    return int((predicted == labels).sum())


def count_correct_in_folds(images: np.ndarray, labels: np.ndarray) -> int:
    """Return how many of `images` are labelled rightly by networks that were trained without them."""
    correct = 0
    for learn, judge in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(images, labels):
        model = onnx_model(trained_network(images[learn], labels[learn]))
        correct += count_correct(model, images[judge], labels[judge])
    return correct


def write_accuracy(title: str, correct: int, of: int) -> None:
    """Print the accuracy and put it in place of the line of `README.md` that starts with `title`."""
    line = f"{title}: {correct} of {of} ({correct / of:.1%})"
    print(line)
    text, replaced = re.subn(rf"^{title}: .*$", line, README.read_text("utf-8"), flags=re.MULTILINE)
    if replaced != 1:
        raise ValueError(f"{README} must hold exactly one line that starts with '{title}:'")
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
