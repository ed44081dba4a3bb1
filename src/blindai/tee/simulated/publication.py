"""What a simulated vendor has published, and how it publishes again: a server that never stops outlives it.

Root, authorities and leaf certificates live for years, collateral for a month: `renew` publishes the latter
anew under the same root and keys, as a vendor does.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from blindai.tee.simulated.holder import Rooted


@dataclass(frozen=True)
class Published:
    """Collateral by vendor, and when it ends (Unix seconds; None if nothing in it ends)."""

    collateral: dict[str, dict[str, Any]]
    expires: int | None


class Publisher(Rooted, ABC):
    """The vendor of one simulated machine. Any thread may read what another one is renewing."""

    simulated = True

    def __init__(self, now: int) -> None:
        self._renewing = threading.Lock()
        self._published_at = now
        self._renewals = 0
        self._newest = self._publish(now, 0)

    @abstractmethod
    def _publish(self, now: int, renewals: int) -> Published:
        """Return the collateral as of `now`; the numbers of revocation lists grow with `renewals`."""

    @property
    def published(self) -> Published:
        """The newest collateral with its own end; a caller may change it."""
        newest = self._newest
        copied = {vendor: dict(members) for vendor, members in newest.collateral.items()}
        return Published(copied, newest.expires)

    @property
    def collateral_expires(self) -> int | None:
        """When the collateral ends, in Unix seconds."""
        return self._newest.expires

    def collateral(self) -> dict[str, Any]:
        """Return the stapled collateral, keyed by vendor."""
        return self.published.collateral

    def renew(self, now: int) -> None:
        """Publish the collateral again, as of `now`, under the same root and keys."""
        with self._renewing:
            # Clients refuse lists that are older than those they know: a clock that was set back dates
            # nothing back, and every list has a higher number than the one before.
            published_at = max(now, self._published_at)
            newest = self._publish(published_at, self._renewals + 1)
            self._published_at, self._renewals, self._newest = published_at, self._renewals + 1, newest
