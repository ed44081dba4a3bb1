"""Every kind of machine that BlindAI runs on: its TEE, the interface to it, and the vendor behind it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from blindai.testing import (
    FakeGramine,
    FakeNitro,
    FakeNsm,
    FakeSevGuest,
    FakeSgx,
    FakeSnp,
    FakeTdx,
    FakeTsm,
    Window,
)
from blindai.testing.certificate_table import certificate_table
from blindai.transport.collateral import intel
from tests.server.stapling.conftest import pccs_routes
from tests.transport.collateral.services import THIM_PATH, Reply, Service, kds_routes, thim_routes

GONE = Reply(b"", status=500)  # unlike 503, which makes whoever asks wait


@dataclass
class Hardware:
    """One machine. `fake` is what is lent under the name `interface`; `tee` signs."""

    interface: str
    tee: Any
    fake: Any
    with_table: bool = False  # the host hands certificates over
    thim: bool = False
    service: Service = field(init=False, repr=False)

    @property
    def root_sha256(self) -> str:
        root: str = self.tee.root_sha256
        return root

    def publish(self) -> None:
        """Let the vendor's service answer about this machine; and the host, if it does."""
        self.service.default = GONE
        self.service.routes = self._routes()
        if self.with_table:
            table = certificate_table(self.tee)
            name = "certificates" if self.interface == "sev-guest" else "auxblob"
            setattr(self.fake, name, table)

    def vanish(self) -> None:
        """Let the vendor's service fail from now on."""
        self.service.routes = {}

    def publish_again(self, life: Window) -> None:
        """Let Intel publish all collateral again, which holds so long from now."""
        self.tee._platform = dataclasses.replace(self.tee.platform, collateral=life)
        self.tee.renew(int(time.time()))
        self.publish()

    def become(self, tee: Any) -> None:
        """Change the machine below the guest: from now on this one signs."""
        self.tee = self.fake.machine = tee

    def settings(self) -> dict[str, Any]:
        """Return what `[collateral]` says to ask this vendor."""
        name = {"sgx": "intel", "tdx": "intel", "sev-snp": "amd"}.get(self.tee.tee)
        return {} if name is None else {f"collateral_{name}_url": self.service.url}

    def found(self) -> dict[str, Any]:
        """Return how `program.found_at` finds it."""
        thim = f"{self.service.url}{THIM_PATH}" if self.thim else None
        return {"interface": self.interface, "root_sha256": self.root_sha256, "thim": thim}

    def _routes(self) -> dict[str, Any]:
        match self.tee.tee:
            case "tdx" | "sgx":
                return pccs_routes(self.tee, intel.platform_of(self.tee.evidence(bytes(64)).value))
            case "sev-snp":
                return {**kds_routes(self.tee), **(thim_routes(self.tee) if self.thim else {})}
        return {}


def gramine(**knobs: Any) -> Hardware:
    enclave = FakeSgx(**knobs)
    return Hardware("gramine", enclave, FakeGramine(machine=enclave))


def tdx(**knobs: Any) -> Hardware:
    guest = FakeTdx(**knobs)
    return Hardware("configfs-tsm", guest, FakeTsm(guest))


def snp(**knobs: Any) -> Hardware:
    """Return a guest whose host puts every certificate beside its reports."""
    guest = FakeSnp(**knobs)
    return Hardware("configfs-tsm", guest, FakeTsm(guest), with_table=True)


def sev_guest(*, with_table: bool, thim: bool = False, **knobs: Any) -> Hardware:
    guest = FakeSnp(**knobs)
    return Hardware("sev-guest", guest, FakeSevGuest(machine=guest), with_table=with_table, thim=thim)


def nitro(**knobs: Any) -> Hardware:
    enclave = FakeNitro(**knobs)
    return Hardware("nsm", enclave, FakeNsm(enclave))


Made = Callable[[], Hardware]
# One of each interface and vendor for every run of the tests; tests/system tries `MORE`, too.
EACH: dict[str, Made] = {
    "SGX, Gramine": gramine,
    "TDX, v5": lambda: tdx(quote_version=5, body_type=3),
    "SNP, VCEK, Milan": snp,
    "SNP, sev-guest and the KDS, Turin": lambda: sev_guest(with_table=False, product="Turin", version=5),
    "Nitro": nitro,
}
MORE: dict[str, Made] = {
    "TDX, v4": tdx,
    "TDX, v5, TD 1.0": lambda: tdx(quote_version=5),
    "SNP, VCEK, Genoa": lambda: snp(product="Genoa"),
    "SNP, VCEK, Turin": lambda: snp(product="Turin"),
    "SNP, VLEK, Milan": lambda: snp(leaf="vlek"),
    "SNP, VLEK, Genoa": lambda: snp(product="Genoa", leaf="vlek"),
    "SNP, VLEK, Turin": lambda: snp(product="Turin", leaf="vlek"),
    "SNP, sev-guest with a table": lambda: sev_guest(with_table=True, product="Genoa"),
    "SNP, sev-guest with a table, VLEK": lambda: sev_guest(with_table=True, leaf="vlek"),
    "SNP, sev-guest and Azure's host": lambda: sev_guest(with_table=False, thim=True),
}
