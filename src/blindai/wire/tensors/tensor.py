"""A tensor, and the limits that its shape keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from blindai.errors import RequestCode, RequestError
from blindai.wire.dtypes import DType

MAX_RANK = 32  # dimensions; numpy allows 64, no model comes near either
MAX_ELEMENTS = 2**31  # of one tensor, with zero dimensions counted as one: numpy refuses what overflows


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named array, C-contiguous and of exactly `dtype.numpy`.

    BF16 is held as uint16 bit patterns, BYTES as an object array of `bytes`. The repr shows no element:
    it may end up in a log.
    """

    name: str
    dtype: DType
    array: NDArray[Any] = field(repr=False)

    def __post_init__(self) -> None:
        # What is sent is the memory of the array, so an array of another layout would send other values.
        if self.array.dtype != self.dtype.numpy or not self.array.flags.c_contiguous:
            raise TypeError(f"a {self.dtype.name} tensor needs a C-contiguous array of {self.dtype.numpy}")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape


def element_count(shape: Sequence[int]) -> int:
    """Return how many elements `shape` has, or raise RequestError (input-shape) if it is not acceptable."""
    if len(shape) > MAX_RANK:
        raise bad_shape(f"has {len(shape)} dimensions, at most {MAX_RANK} are allowed")
    if any(type(dimension) is not int or dimension < 0 for dimension in shape):
        raise bad_shape("needs a shape of integers that are zero or more")
    # Python's integers do not overflow.
    if math.prod(max(dimension, 1) for dimension in shape) > MAX_ELEMENTS:
        raise bad_shape(f"has a shape of more than {MAX_ELEMENTS} elements")
    return math.prod(shape)


# The messages do not name the tensor: its name is the request's, and nothing of a request is echoed.


def bad_shape(what: str) -> RequestError:
    return RequestError(RequestCode.INPUT_SHAPE, f"the tensor {what}")


def bad_data(what: str) -> RequestError:
    return RequestError(RequestCode.INPUT_DATA, f"the tensor {what}")
