"""How many requests a minute: one bucket per caller, or per model."""

from __future__ import annotations

import math
from collections import OrderedDict

from blindai.errors import RequestCode, RequestError

MAX_BUCKETS = 16_384  # some 2 MiB
_MINUTE = 60.0
_ROUNDING = 1e-6  # seconds: whoever waits exactly as long as told is not sent away again


class RateLimited(RequestError):
    """Too many requests; there is room for the next in `retry_after_seconds`."""

    def __init__(self, per_minute: int, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(
            RequestCode.RATE_LIMITED,
            f"more than {per_minute} requests a minute; try again in {retry_after_seconds} s",
        )


class Rate:
    """Lets `per_minute` requests through for each key, in a burst or spread; 0 is no limit.

    A bucket is one number: when it will be full again. So a full bucket need not be kept, and a clock that
    goes backwards only fills it later. Of more than `max_buckets`, the one used longest ago is forgotten.
    """

    def __init__(self, per_minute: int, *, max_buckets: int = MAX_BUCKETS) -> None:
        self._per_minute = per_minute
        self._max_buckets = max_buckets
        self._full_at: OrderedDict[str, float] = OrderedDict()  # the one used longest ago first

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, now: float, *, per_minute: int | None = None) -> None:
        """Count a request of `key` at `now` (monotonic seconds), or raise RateLimited.

        `per_minute` is the limit of this key where it has one of its own. What is refused is not counted.
        """
        limit = self._per_minute if per_minute is None else per_minute
        if limit <= 0:
            return
        full_at = max(self._full_at.get(key, now), now) + _MINUTE / limit
        early = full_at - now - _MINUTE
        if early > _ROUNDING:
            raise RateLimited(limit, math.ceil(early - _ROUNDING))
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drop what is full again, a few at a time, and whatever is too many."""
        for _ in range(2):
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= self._max_buckets:
                break
            del self._full_at[oldest]
