"""A fake AMD SEV-SNP machine."""

from __future__ import annotations

import ssl
import time
from typing import Any

from blindai.attestation.types import SNP_REPORT, Evidence
from blindai.testing import authority, snp_layout, snp_vendor
from blindai.testing.authority import Holder, Rooted
from blindai.testing.snp_machine import SnpMachine


class FakeSnp(Rooted):
    """Mints SEV-SNP reports and collateral under a throw-away ARK (a `blindai.tee.attester.Attester`).

    >>> FakeSnp(product="Genoa", debug=True).tee
    'sev-snp'

    `knobs` are the fields of `SnpMachine`; each turns one thing wrong. `now` is the Unix time that every
    date counts from (default: the clock's), `root` reuses the `root` of another fake. The RSA keys of
    authorities are made once per process: the roots of two fakes are different certificates of one key.
    """

    tee = "sev-snp"
    simulated = True
    collateral_expires: int | None = None

    def __init__(self, *, now: int | None = None, root: Holder | None = None, **knobs: Any) -> None:
        self.machine = SnpMachine(**knobs)
        vendor = snp_vendor.establish(self.machine, int(time.time()) if now is None else now, root)
        self.root = vendor.root
        self.issuer = vendor.issuer
        self.leaf_der = vendor.leaf_der
        self.crl = vendor.crl
        self._key = authority.ec_key() if self.machine.signed_by_stranger else vendor.leaf_key

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

    def collateral(self) -> dict[str, Any]:
        """Return the stapled collateral, keyed by vendor."""
        stapled = {
            "leaf": ssl.DER_cert_to_PEM_cert(self.leaf_der),
            "issuer_chain": self.issuer.pem + self.root.pem,
        }
        if self.crl is not None:
            stapled["crl"] = self.crl.hex()
        return {"amd": stapled}
