"""The simulated attester: what a server runs with `--simulation`."""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from blindai.attestation.types import TDX_QUOTE, Evidence
from blindai.tee.measurement import Measurements
from blindai.tee.simulated import collateral, pki, quote
from blindai.tee.simulated.platform import IntelPlatform, Platform


class SimulatedVendor:
    """The part of a simulated Intel machine that no TEE changes: root, attestation key, collateral."""

    simulated = True

    def __init__(self, platform: IntelPlatform, now: int, root: pki.Holder | None) -> None:
        self._vendor = pki.vendor(platform, now, root)
        self.root = self._vendor.root
        self._attestation_key = pki.new_key()
        self._collateral = collateral.publish(platform, self._vendor, now)
        self._collateral_expires = now + platform.collateral.end

    @property
    def collateral_expires(self) -> int:
        """When the collateral ends, in Unix seconds."""
        return self._collateral_expires

    @property
    def root_der(self) -> bytes:
        return self.root.certificate.public_bytes(Encoding.DER)

    @property
    def root_pem(self) -> str:
        return self.root.pem

    @property
    def root_sha256(self) -> str:
        """The fingerprint by which a client opts in: SHA-256 of the DER certificate, in hexadecimal."""
        return hashlib.sha256(self.root_der).hexdigest()

    def collateral(self) -> dict[str, Any]:
        """Return the stapled collateral, keyed by vendor."""
        return {"intel": dict(self._collateral)}


class SimulatedTdx(SimulatedVendor):
    """Mints TDX evidence and collateral under a throw-away root (a `blindai.tee.attester.Attester`).

    `now` is the Unix time that every date counts from: certificates and collateral start before it, and
    collateral ends 30 days after it. `root` reuses the root of another instance: the same anchor then
    vouches for another machine, another measurement or a later day. Private keys live in memory only.
    """

    tee = "tdx"

    def __init__(
        self,
        *,
        now: int,
        measurements: Measurements,
        platform: Platform | None = None,
        root: pki.Holder | None = None,
    ) -> None:
        self.platform = Platform() if platform is None else platform
        self.measurements = measurements
        super().__init__(self.platform, now, root)
        self._certification = quote.certify(self._attestation_key, self._vendor, self.platform.cpu_svn)

    def evidence(self, report_data: bytes) -> Evidence:
        """Return a quote that carries these 64 bytes."""
        value = quote.mint(
            self.platform,
            self.measurements,
            report_data,
            attestation_key=self._attestation_key,
            certification=self._certification,
        )
        return Evidence(TDX_QUOTE, value)
