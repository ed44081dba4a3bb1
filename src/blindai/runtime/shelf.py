"""The models that are loaded: lent to whoever runs them, loaded on demand, unloaded when room is needed.

What a model is called and who may use it is not known here; a model has a key that no other ever has.
Models are loaded outside the lock, each once, however many ask for it at the same moment.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from blindai.errors import RequestCode, RequestError
from blindai.runtime.engine import LoadedModel


class Shelf:
    """Key -> loaded model. Safe to use from several threads."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}  # the least recently used first

    def put(
        self, key: str, model: LoadedModel, size_bytes: int, *, pinned: bool, replacing: str | None = None
    ) -> None:
        """Hold a model that is loaded. One that is pinned stays until it is dropped.

        `replacing` is the key of a model that the caller drops next: its room counts as free.
        Raises RequestError (storage-full) if there is no room; the model is then still the caller's.
        """
        with self._lock:
            closing = self._make_room(size_bytes, without=replacing)
            self._places[key] = _Place(size_bytes, pinned, model)
        _close(closing)

    @contextlib.contextmanager
    def lend(self, key: str, size_bytes: int, load: Callable[[], LoadedModel]) -> Iterator[LoadedModel]:
        """Lend a model, loaded by `load` if it is not here. It is not closed before the last lease ends.

        Raises what `load` raises, and RequestError (busy) if there is no room now.
        """
        place = self._lease(key, size_bytes)
        try:
            with place.loading:
                if place.model is None:
                    place.model = load()
            yield place.model
        finally:
            self._give_back(key, place)

    def drop(self, key: str) -> bool:
        """Forget a model; say whether it was here. Those who run it finish."""
        with self._lock:
            place = self._places.pop(key, None)
            if place is None:
                return False
            place.retired = True
            closing = [place] if place.leases == 0 else []
        _close(closing)
        return True

    def holds(self, key: str) -> bool:
        """Whether the model is loaded now."""
        with self._lock:
            place = self._places.get(key)
            return place is not None and place.model is not None

    def check_room(self, size_bytes: int) -> None:
        """Raise RequestError (storage-full) if a model of this size would not fit, whatever was unloaded."""
        with self._lock:
            fixed = sum(place.size_bytes for place in self._places.values() if place.pinned)
        if fixed + size_bytes > self._max_bytes:
            raise self._full()

    @property
    def loaded(self) -> tuple[int, int]:
        """How many models are loaded, and their bytes."""
        with self._lock:
            return len(self._places), sum(place.size_bytes for place in self._places.values())

    def _lease(self, key: str, size_bytes: int) -> _Place:
        closing: list[_Place] = []
        with self._lock:
            place = self._places.pop(key, None)
            if place is None:
                try:
                    closing = self._make_room(size_bytes)
                except RequestError:
                    raise RequestError(
                        RequestCode.BUSY, "other models are in use and leave no room for this one: try again"
                    ) from None
                place = _Place(size_bytes, pinned=False)
            self._places[key] = place  # at the end: the most recently used
            place.leases += 1
        _close(closing)
        return place

    def _give_back(self, key: str, place: _Place) -> None:
        with self._lock:
            place.leases -= 1
            if place.model is None and place.leases == 0 and self._places.get(key) is place:
                del self._places[key]  # it could not be loaded
            closing = [place] if place.retired and place.leases == 0 else []
        _close(closing)

    def _make_room(self, size_bytes: int, without: str | None = None) -> list[_Place]:
        """Take idle models off the shelf, the longest unused first; return those to close."""
        staying = {key: place for key, place in self._places.items() if key != without}
        used = sum(place.size_bytes for place in staying.values())
        idle = [key for key, place in staying.items() if not place.pinned and place.leases == 0]
        leaving = []
        for key in idle:
            if used + size_bytes <= self._max_bytes:
                break
            used -= self._places[key].size_bytes
            leaving.append(key)
        if used + size_bytes > self._max_bytes:
            raise self._full()
        return [self._places.pop(key) for key in leaving]

    def _full(self) -> RequestError:
        return RequestError(
            RequestCode.STORAGE_FULL,
            f"the server holds at most {self._max_bytes} bytes of loaded models: delete one first",
        )


@dataclass
class _Place:
    """A model and who uses it; all but `loading` is guarded by the shelf's lock."""

    size_bytes: int
    pinned: bool
    model: LoadedModel | None = None
    leases: int = 0
    retired: bool = False
    loading: threading.Lock = field(default_factory=threading.Lock)


def _close(places: list[_Place]) -> None:
    for place in places:
        if place.model is not None:
            place.model.close()
