"""The simulated SEV-SNP machine: what a server runs with `--simulation` that is to behave like AMD's."""

from __future__ import annotations

import ssl

from blindai.attestation.types import SNP_REPORT, Evidence
from blindai.tee.measurement import Launch, simulated_launch
from blindai.tee.simulated import authority, snp_layout, snp_vendor
from blindai.tee.simulated.holder import Holder
from blindai.tee.simulated.publication import Published, Publisher
from blindai.tee.simulated.snp_machine import SnpMachine


class SnpMint(Publisher):
    """Signs the reports of one machine, as its knobs say, and publishes what vouches for them."""

    tee = "sev-snp"

    def __init__(self, machine: SnpMachine, now: int, root: Holder | None) -> None:
        self.machine = machine
        self._vendor = snp_vendor.establish(machine, now, root)
        self.root = self._vendor.root
        self.issuer = self._vendor.issuer
        self.leaf_der = self._vendor.leaf_der
        self._key = authority.ec_key() if machine.signed_by_stranger else self._vendor.leaf_key
        super().__init__(now)

    @property
    def measurements(self) -> Launch:
        machine = self.machine
        return Launch(machine.measurement, machine.product, machine.tcb.numbers(machine.product))

    def evidence(self, report_data: bytes) -> Evidence:
        """Return a report that carries these 64 bytes."""
        if len(report_data) != 64:
            raise ValueError("report data has 64 bytes")
        report = snp_layout.compose(self.machine, report_data)
        if not self.machine.unsigned:
            snp_layout.sign(report, self._key)
        if self.machine.edit_signed is not None:
            self.machine.edit_signed(report)
        if self.machine.flipped_bit_at is not None:
            report[self.machine.flipped_bit_at] ^= 1
        return Evidence(SNP_REPORT, bytes(report) + self.machine.trailing)

    def _publish(self, now: int, renewals: int) -> Published:
        stapled = {
            "leaf": ssl.DER_cert_to_PEM_cert(self.leaf_der),
            "issuer_chain": self.issuer.pem + self.root.pem,
        }
        crl = snp_vendor.crl(self.machine, self._vendor, now, renewals=renewals)
        if crl is not None:
            stapled["crl"] = crl.hex()
        window = self.machine.crl
        return Published({"amd": stapled}, None if window is None else now + window.end)


class SimulatedSnp(SnpMint):
    """Mints SEV-SNP reports and collateral under a throw-away ARK (a `blindai.tee.attester.Attester`).

    The launch measurement is that of the sources with this hash. `now` is the Unix time that every date
    counts from; the CRL ends 30 days after it unless it is renewed. `root` reuses the root of another
    instance. Private keys live in memory only.
    """

    def __init__(self, *, now: int, source_sha256: str, root: Holder | None = None) -> None:
        super().__init__(SnpMachine(measurement=simulated_launch(source_sha256).measurement), now, root)
