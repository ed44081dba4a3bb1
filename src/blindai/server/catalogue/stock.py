"""What the catalogue and the admission to it have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from blindai.runtime.engine import Engine
from blindai.runtime.shelf import Shelf
from blindai.server.catalogue.entries import Entries
from blindai.server.catalogue.keeping import Keeping


@dataclass(frozen=True)
class Stock:
    """The models, and where they are kept and loaded.

    `now` gives Unix seconds, `served` the seconds that the server has run in its life.
    """

    entries: Entries
    keeping: Keeping
    shelf: Shelf
    engine: Engine
    now: Callable[[], int]
    served: Callable[[], int]
