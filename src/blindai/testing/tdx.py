"""A fake Intel TDX machine."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from blindai.tee.measurement import Measurements, simulated_measurements
from blindai.tee.simulated import Platform, Published, SimulatedTdx
from blindai.tee.simulated.pki import Holder
from blindai.wire import base64url

_NO_SOURCES = hashlib.sha256(b"").hexdigest()


class FakeTdx(SimulatedTdx):
    """A simulated TDX machine whose defaults suit tests; `knobs` are the fields of `Platform`.

    >>> FakeTdx(debug=True, tcb_status="OutOfDate", advisories=("INTEL-SA-00960",)).tee
    'tdx'

    `now` is a Unix time (default: the clock's), `measurements` defaults to those of empty sources, `root`
    reuses the `root` of another fake. `event_log` is stapled as it is: that the measurements are those of its
    replay is up to the caller (`EventLog.measured`).
    """

    def __init__(
        self,
        *,
        now: int | None = None,
        measurements: Measurements | None = None,
        root: Holder | None = None,
        event_log: bytes | None = None,
        **knobs: Any,
    ) -> None:
        self._event_log = event_log
        super().__init__(
            now=int(time.time()) if now is None else now,
            measurements=simulated_measurements(_NO_SOURCES) if measurements is None else measurements,
            platform=Platform(**knobs),
            root=root,
        )

    def _publish(self, now: int, renewals: int) -> Published:
        """Return the collateral; the event log, if there is one, is its tenth member."""
        published = super()._publish(now, renewals)
        if self._event_log is not None:
            published.collateral["intel"]["event_log"] = base64url.encode(self._event_log)
        return published
