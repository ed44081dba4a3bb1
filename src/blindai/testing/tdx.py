"""A fake Intel TDX machine."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from blindai.tee.measurement import Measurements, simulated_measurements
from blindai.tee.simulated import Platform, SimulatedTdx
from blindai.tee.simulated.pki import Holder

_NO_SOURCES = hashlib.sha256(b"").hexdigest()


class FakeTdx(SimulatedTdx):
    """A simulated TDX machine whose defaults suit tests; `knobs` are the fields of `Platform`.

    >>> FakeTdx(debug=True, tcb_status="OutOfDate", advisories=("INTEL-SA-00960",)).tee
    'tdx'

    `now` is a Unix time (default: the clock's), `measurements` defaults to those of empty sources, `root`
    reuses the `root` of another fake.
    """

    def __init__(
        self,
        *,
        now: int | None = None,
        measurements: Measurements | None = None,
        root: Holder | None = None,
        **knobs: Any,
    ) -> None:
        super().__init__(
            now=int(time.time()) if now is None else now,
            measurements=simulated_measurements(_NO_SOURCES) if measurements is None else measurements,
            platform=Platform(**knobs),
            root=root,
        )
