"""Named tensors, and their three forms: raw bytes, JSON data, and what a Python caller holds.

Reading from the wire raises RequestError, as the server needs it; `inference.decode_response` turns that
into ResponseError for the client. Writing raises UsageError; `inference.encode_response` turns that into
RequestError for the server. No message contains an element of a tensor.
"""

from __future__ import annotations

from blindai.wire.tensors.binary import from_bytes, to_bytes
from blindai.wire.tensors.json_data import from_json_data, to_json_data
from blindai.wire.tensors.tensor import MAX_ELEMENTS, MAX_RANK, Tensor
from blindai.wire.tensors.values import from_values, to_values

__all__ = [
    "MAX_ELEMENTS",
    "MAX_RANK",
    "Tensor",
    "from_bytes",
    "from_json_data",
    "from_values",
    "to_bytes",
    "to_json_data",
    "to_values",
]
