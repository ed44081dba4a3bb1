"""The simulated attester: what a server runs with `--simulation`."""

from __future__ import annotations

from blindai.attestation.types import TDX_QUOTE, Evidence
from blindai.tee.measurement import Measurements
from blindai.tee.simulated import collateral, pki, quote
from blindai.tee.simulated.platform import IntelPlatform, Platform
from blindai.tee.simulated.publication import Published, Publisher


class SimulatedVendor(Publisher):
    """The part of a simulated Intel machine that no TEE changes: root, attestation key, collateral."""

    root: pki.Holder

    def __init__(self, platform: IntelPlatform, now: int, root: pki.Holder | None) -> None:
        self._platform = platform
        self._vendor = pki.vendor(platform, now, root)
        self.root = self._vendor.root
        self._attestation_key = pki.new_key()
        super().__init__(now)

    def _publish(self, now: int, renewals: int) -> Published:
        published = collateral.publish(self._platform, self._vendor, now, renewals=renewals)
        return Published({"intel": dict(published)}, now + self._platform.collateral.end)


class SimulatedTdx(SimulatedVendor):
    """Mints TDX evidence and collateral under a throw-away root (a `blindai.tee.attester.Attester`).

    `now` is the Unix time that every date counts from: certificates and collateral start before it, and
    collateral ends 30 days after it unless it is renewed. `root` reuses the root of another instance: the
    same anchor then vouches for another machine, another measurement or a later day. Private keys live in
    memory only.
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
