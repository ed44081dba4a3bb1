"""Where sealing keys come from: one small interface, and one file per kind of source."""

from __future__ import annotations

from blindai.store.keys.open import open_source
from blindai.store.keys.source import KEY_BYTES, KeySource

__all__ = ["KEY_BYTES", "KeySource", "open_source"]
