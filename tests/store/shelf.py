"""What the tests of the store put there, and how they look at it."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from blindai.store.store import Store, StoredModel
from blindai.wire.access import Visibility
from blindai.wire.dtypes import FP32
from blindai.wire.metadata import TensorSpec
from blindai.wire.model_name import ModelName

KEY = b"k" * 32
OTHER_KEY = b"o" * 32
CHUNK = 1024 * 1024


def content(seed: object, size: int = 5000) -> bytes:
    """Bytes that look like nothing else, so that each window of them can be searched for."""
    return random.Random(str(seed)).randbytes(size)  # noqa: S311  a test's bytes come again


def described(name: str, data: bytes, **changes) -> StoredModel:
    model = StoredModel(
        name=ModelName.parse(name),
        id=hashlib.sha256(name.encode() + data).hexdigest()[:32],
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        visibility=Visibility.PRIVATE,
        shared_with=(),
        platform="onnx",
        inputs=(TensorSpec("x", FP32, (-1, 4)),),
        outputs=(TensorSpec("y", FP32, (-1,)),),
        created=1000,
        last_used=1000,
        last_used_served=0,
    )
    return replace(model, **changes)


def put(store: Store, name: str, data: bytes, **changes) -> StoredModel:
    """Upload a model in three pieces."""
    model = described(name, data, **changes)
    with store.stage(model.name.namespace) as staging:
        for start in range(0, len(data), len(data) // 3 + 1):
            staging.write(data[start : start + len(data) // 3 + 1])
        store.commit(staging.finish(), model)
    return model


def get(store: Store, model: StoredModel) -> bytes:
    with store.read(model) as blob:
        return read(blob)


def read(blob) -> bytes:
    data = bytearray(blob.size_bytes)
    assert blob.readinto(memoryview(data)) == blob.size_bytes
    assert blob.readinto(memoryview(bytearray(1))) == 0
    return bytes(data)


def contents(store: Store) -> dict[str, bytes]:
    """Every model's bytes, by name."""
    return {str(model.name): get(store, model) for model in store.models()}


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def blob_files(path: Path) -> list[Path]:
    return sorted(path.glob("*.model"))


def plaintext_in(raw: bytes, *plaintexts: bytes) -> bool:
    """Whether 32 bytes in a row of a plaintext are in `raw`: then the first half of one of its blocks is."""
    blocks = [np.frombuffer(text, "<u8", len(text) // 16 * 2)[::2] for text in plaintexts]
    wanted = np.concatenate([np.empty(0, "<u8"), *blocks])
    found = np.ndarray((max(0, len(raw) - 7),), "<u8", raw, strides=(1,))
    for bits in (0, 24):  # nearly all windows are told apart by three of their bytes, or by three others
        maybe = np.zeros(2**24, bool)
        maybe[wanted >> bits & 0xFFFFFF] = True
        found = found[maybe[found >> bits & 0xFFFFFF]]
    return bool(len(found)) and bool(np.isin(found, wanted).any())
