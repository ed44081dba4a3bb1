"""Stapled Intel collateral: what is needed to judge a quote offline, and when it may be used.

`dcap-qvl` verifies every signature in here. This module answers what it does not: are all roots the
trusted one, do the dates hold (it accepts a CRL from the future), how new is it, when does it end.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blindai.attestation.times import shown
from blindai.attestation.trust import Trust
from blindai.attestation.types import Floor
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from blindai.wire import strict_json

MAX_COLLATERAL_BYTES = 256 * 1024
MAX_CHAIN = 3
CHAINS = ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain")
HEXADECIMAL = ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature")
SIGNED_JSON = ("tcb_info", "qe_identity")
TCB_SIGNER = " SGX TCB Signing"
MEMBERS = frozenset((*CHAINS, *HEXADECIMAL, *SIGNED_JSON))


@dataclass(frozen=True)
class IntelCollateral:
    """Parsed collateral; nothing in it is verified. `text` is what `dcap-qvl` reads."""

    text: str
    chains: tuple[tuple[x509.Certificate, ...], ...]
    root_crl: x509.CertificateRevocationList
    pck_crl: x509.CertificateRevocationList
    tcb_info: Mapping[str, Any]
    qe_identity: Mapping[str, Any]


@dataclass(frozen=True)
class Window:
    """The Unix seconds in which every piece is valid."""

    not_before: int
    not_after: int


def parse(value: Any) -> IntelCollateral:
    """Read the `intel` member of an answer's collateral, or raise EvidenceMalformed."""
    if value is None:
        raise EvidenceMalformed(
            Reason.COLLATERAL_MISSING, "the server stapled no Intel collateral to its evidence"
        )
    try:
        fields = strict_json.members(value, "intel collateral", set(MEMBERS))
        if not all(isinstance(text, str) for text in fields.values()):
            raise ValueError("a member is not a string")
        if sum(map(len, fields.values())) > MAX_COLLATERAL_BYTES:
            raise EvidenceMalformed(
                Reason.COLLATERAL_TOO_LARGE, f"the Intel collateral exceeds {MAX_COLLATERAL_BYTES} bytes"
            )
        crls = [x509.load_der_x509_crl(bytes.fromhex(fields[key])) for key in ("root_ca_crl", "pck_crl")]
        signed = [
            strict_json.decode_object(fields[key].encode(), max_bytes=MAX_COLLATERAL_BYTES)
            for key in SIGNED_JSON
        ]
    except (ValueError, x509.InvalidVersion) as exc:
        raise EvidenceMalformed(
            Reason.COLLATERAL_MALFORMED, f"the Intel collateral is malformed: {exc}"
        ) from exc
    return IntelCollateral(
        text=json.dumps(fields),
        chains=tuple(certificates(fields[key].encode("utf-8", "replace")) for key in CHAINS),
        root_crl=crls[0],
        pck_crl=crls[1],
        tcb_info=signed[0],
        qe_identity=signed[1],
    )


def certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Read a PEM chain, leaf first, of at most three certificates and nothing else."""
    try:
        chain = x509.load_pem_x509_certificates(pem)
        # `dcap-qvl` takes a block of any label for a certificate, `cryptography` skips what it does not know:
        # but for one spelling, they would judge two different chains.
        if b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain) != pem:
            raise ValueError("text around or inside the certificates")
        if any(certificate.serial_number <= 0 for certificate in chain):
            raise ValueError("a serial number that is not positive")
    except (ValueError, x509.InvalidVersion) as exc:
        raise EvidenceMalformed(
            Reason.CERTIFICATE_MALFORMED, "an Intel certificate chain is malformed"
        ) from exc
    if len(chain) > MAX_CHAIN:
        raise EvidenceMalformed(
            Reason.CERTIFICATE_MALFORMED, f"an Intel certificate chain is longer than {MAX_CHAIN}"
        )
    return tuple(chain)


def trusted_root(chains: Iterable[Sequence[x509.Certificate]], trust: Trust) -> x509.Certificate:
    """Return the one root that ends every chain, or raise EvidenceForged."""
    roots = {chain[-1] for chain in chains}
    root = next(iter(roots))
    if len(roots) != 1 or not trust.accepts("intel", root):
        raise EvidenceForged(
            Reason.ROOT_UNKNOWN,
            "the evidence does not end at the trusted simulation root"
            if trust.simulated
            else "the evidence does not end at Intel's root",
            hint="the server may have restarted: its simulation root changes at every start"
            if trust.simulated
            else "if this is a simulation, say so: simulation= (Python), --simulation (command line)",
        )
    return root


def check_signers(collateral: IntelCollateral) -> None:
    """Raise EvidenceForged unless TCB info and QE identity come from the TCB signing certificate.

    `dcap-qvl` takes any leaf under the root: with one PCK key, extracted from any old machine, an attacker
    would sign TCB info and QE identities. The root itself issues the TCB signer, and no PCK certificate.
    """
    # Both texts usually come with the same chain: each is checked once.
    if not all(_is_tcb_signer(chain) for chain in set(collateral.chains[1:])):
        raise EvidenceForged(
            Reason.SIGNATURE_INVALID, "TCB data are signed by another certificate than Intel's TCB signer"
        )


def _is_tcb_signer(chain: Sequence[x509.Certificate]) -> bool:
    """Whether the chain is a TCB signing certificate and the root that issued it, nothing between."""
    if len(chain) != 2:
        return False
    signer, root = chain
    try:
        signer.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    names = signer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return len(names) == 1 and str(names[0].value).endswith(TCB_SIGNER)


def window(collateral: IntelCollateral, pck_chain: Sequence[x509.Certificate]) -> Window:
    """Return when every certificate, CRL and signed text is valid, or raise EvidenceMalformed."""
    everything = [certificate for chain in (*collateral.chains, pck_chain) for certificate in chain]
    starts = [int(certificate.not_valid_before_utc.timestamp()) for certificate in everything]
    ends = [int(certificate.not_valid_after_utc.timestamp()) for certificate in everything]
    for crl in (collateral.root_crl, collateral.pck_crl):
        if crl.next_update_utc is None:
            raise _malformed("a CRL does not say when it ends")
        starts.append(int(crl.last_update_utc.timestamp()))
        ends.append(int(crl.next_update_utc.timestamp()))
    for signed in (collateral.tcb_info, collateral.qe_identity):
        starts.append(_date(signed.get("issueDate")))
        ends.append(_date(signed.get("nextUpdate")))
    return Window(max(starts), min(ends))


def check_dates(valid: Window, now: int) -> None:
    """Raise EvidenceRejected unless every piece is valid at `now`."""
    if now < valid.not_before:
        raise EvidenceRejected(
            Reason.COLLATERAL_NOT_YET_VALID,
            f"collateral is valid from {shown(valid.not_before)}, the clock says {shown(now)}",
            hint="check this computer's clock",
        )
    if now >= valid.not_after:
        raise EvidenceRejected(
            Reason.COLLATERAL_EXPIRED,
            f"collateral was valid until {shown(valid.not_after)}, the clock says {shown(now)}",
            hint="the server must refresh its collateral; check this computer's clock too",
        )


def check_revocation(collateral: IntelCollateral, pck_chain: Sequence[x509.Certificate]) -> None:
    """Raise EvidenceRejected if a CRL lists the platform's certificate or its issuer.

    `dcap-qvl` decides this too; here it gets a reason code of its own.
    """
    listed = collateral.pck_crl.get_revoked_certificate_by_serial_number(pck_chain[0].serial_number)
    issuers = [certificate for chain in (*collateral.chains, pck_chain) for certificate in chain[:-1]]
    if listed is not None or any(
        collateral.root_crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
        for certificate in issuers
    ):
        raise EvidenceRejected(Reason.CERTIFICATE_REVOKED, "Intel revoked a certificate of this platform")


def freshness(collateral: IntelCollateral) -> Floor:
    """Return the numbers that only ever grow; an absent CRL number counts as 0."""
    numbers = (collateral.tcb_info, collateral.qe_identity)
    evaluations = [number.get("tcbEvaluationDataNumber") for number in numbers]
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in evaluations):
        raise _malformed("no TCB evaluation number")
    return Floor(
        tcb_evaluation=min(value for value in evaluations if isinstance(value, int)),
        leaf_crl=_crl_number(collateral.pck_crl),
        root_crl=_crl_number(collateral.root_crl),
        leaf_crl_date=int(collateral.pck_crl.last_update_utc.timestamp()),
        root_crl_date=int(collateral.root_crl.last_update_utc.timestamp()),
    )


def _crl_number(crl: x509.CertificateRevocationList) -> int:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0
    except ValueError as exc:
        raise _malformed("a CRL's extensions cannot be read") from exc


def _date(value: Any) -> int:
    """Read Intel's form of a time, 2025-06-19T10:16:03Z."""
    try:
        moment = datetime.datetime.strptime(f"{value}+0000", "%Y-%m-%dT%H:%M:%SZ%z")
    except ValueError as exc:
        raise _malformed("a date cannot be read") from exc
    return int(moment.timestamp())


def _malformed(what: str) -> EvidenceMalformed:
    return EvidenceMalformed(Reason.COLLATERAL_MALFORMED, f"the Intel collateral is malformed: {what}")
