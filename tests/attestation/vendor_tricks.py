"""Collateral that an attacker puts together from keys and signed texts of the vendor.

A `Workshop` is a simulated machine whose vendor's keys are all at hand: what a test uses of them is what its
attacker is assumed to hold.
"""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from blindai.attestation.types import TDX_QUOTE, Evidence
from blindai.attestation.verifier import Attested
from blindai.tee.measurement import Measurements
from blindai.tee.simulated import Platform, collateral, pki, quote
from blindai.testing import FakeTdx
from tests.attestation.scene import NOW, Client, attest


@dataclass
class Workshop:
    """A machine like `FakeTdx`, and its vendor. `pck_chain` is the PEM text inside its quotes."""

    platform: Platform
    vendor: pki.Vendor
    measurements: Measurements
    pck_chain: str
    published: dict[str, str]

    tee = "tdx"
    simulated = True

    @classmethod
    def make(cls, **knobs: Any) -> Workshop:
        platform = Platform(**knobs)
        vendor = pki.vendor(platform, NOW)
        return cls(
            platform,
            vendor,
            FakeTdx(now=NOW).measurements,
            vendor.pck_chain_pem,
            collateral.publish(platform, vendor, NOW),
        )

    @property
    def root_sha256(self) -> str:
        from blindai.attestation.trust import fingerprint  # noqa: PLC0415

        return fingerprint(self.vendor.root.certificate)

    def evidence(self, report_data: bytes) -> Evidence:
        key = pki.new_key()
        certification = quote.certify(key, _Certified(self.vendor.pck, self.pck_chain))
        value = quote.mint(
            self.platform, self.measurements, report_data, attestation_key=key, certification=certification
        )
        return Evidence(TDX_QUOTE, value)

    def collateral(self) -> dict[str, Any]:
        return {"intel": dict(self.published)}

    def signed_by(self, signer: pki.Holder, **knobs: Any) -> dict[str, str]:
        """Return what the vendor would publish about a machine with these knobs if `signer` signed it."""
        vendor = dataclasses.replace(self.vendor, tcb_signer=signer)
        return collateral.publish(dataclasses.replace(Platform(), **knobs), vendor, NOW)

    def replace(self, source: dict[str, str], *members: str) -> None:
        """Take members of the collateral from `source`."""
        self.published |= {name: source[name] for name in members}

    def attest(self, client: Client | None = None) -> Attested:
        return attest(self, client)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Certified:
    """As much of a vendor as `quote.certify` looks at."""

    pck: pki.Holder
    pck_chain_pem: str


def der_of(pem: str) -> bytes:
    return base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-")))


def pem_of(der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def hidden(pem: str, label: str = "TRUSTED CERTIFICATE") -> str:
    """Return the same certificate under a label that not every PEM reader takes for one."""
    return pem.replace("CERTIFICATE", label)


def with_version(pem: str, version: int) -> str:
    """Return a certificate of another X.509 version; its signature no longer holds."""
    return pem_of(
        der_of(pem).replace(bytes.fromhex("a003020102"), bytes.fromhex("a0030201") + bytes([version]), 1)
    )


def signed_again(tbs: bytes, issuer: pki.Holder) -> str:
    """Return the certificate that says this, signed by `issuer`: a builder would refuse some of it."""
    signature = b"\0" + issuer.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    ecdsa_sha256 = bytes.fromhex("300a06082a8648ce3d040302")
    content = tbs + ecdsa_sha256 + b"\x03" + bytes([len(signature)]) + signature
    return pem_of(b"\x30\x82" + len(content).to_bytes(2, "big") + content)
