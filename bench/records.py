"""Records of models that everybody may use, as a store keeps them."""

from __future__ import annotations

import secrets
import time

from blindai.runtime.onnx import PLATFORM
from blindai.store.record import StoredModel
from blindai.wire.access import Visibility
from blindai.wire.dtypes import FP32
from blindai.wire.metadata import DYNAMIC, TensorSpec
from blindai.wire.model_name import ModelName


def public(namespace: str, name: str, *, sha256: str, size_bytes: int, dimension: int) -> StoredModel:
    """Return the record of a model with an input `x` and an output `y`, FP32 [n, dimension]."""
    now = int(time.time())
    return StoredModel(
        name=ModelName(namespace, name),
        id=secrets.token_hex(8),
        sha256=sha256,
        size_bytes=size_bytes,
        visibility=Visibility.PUBLIC,
        shared_with=(),
        platform=PLATFORM,
        inputs=(TensorSpec("x", FP32, (DYNAMIC, dimension)),),
        outputs=(TensorSpec("y", FP32, (DYNAMIC, dimension)),),
        created=now,
        last_used=now,
        last_used_served=0,
    )
