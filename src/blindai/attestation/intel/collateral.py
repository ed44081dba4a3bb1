"""Stapled Intel collateral: what is needed to judge a quote offline, and when it may be used.

Chains and CRLs are verified here, before `dcap-qvl` sees a byte of them: it is native code, and accepts a
CRL from the future, any leaf as signer of TCB data, and more than one root. TCB info and QE identity it
verifies itself.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from blindai.attestation import chain
from blindai.attestation.chain import Dated
from blindai.attestation.trust import Trust, unknown_root
from blindai.attestation.types import Floor
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from blindai.wire import base64url, strict_json

MAX_COLLATERAL_BYTES = 256 * 1024
MAX_CHAIN = 3
CHAINS = ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain")
HEXADECIMAL = ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature")
SIGNED_JSON = ("tcb_info", "qe_identity")
TCB_SIGNER = " SGX TCB Signing"
MEMBERS = frozenset((*CHAINS, *HEXADECIMAL, *SIGNED_JSON))
EVENT_LOG = "event_log"
# What each TEE's TCB info and QE identity call themselves.
IDENTITIES = {"sgx": ("SGX", "QE"), "tdx": ("TDX", "TD_QE")}
# Of TCB info and QE identity. `dcap-qvl` reads older TCB info of SGX by the rules of this version.
VERSIONS = (3, 2)
_HEXADECIMAL = re.compile(r"(?:[0-9a-fA-F]{2})+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True)
class IntelCollateral:
    """Parsed collateral; nothing in it is verified. `members` is what `dcap-qvl` reads."""

    members: Mapping[str, str | bytes]
    chains: tuple[tuple[x509.Certificate, ...], ...]
    root_crl: x509.CertificateRevocationList
    pck_crl: x509.CertificateRevocationList
    tcb_info: Mapping[str, Any]
    qe_identity: Mapping[str, Any]
    event_log: bytes | None


def parse(value: Any) -> IntelCollateral:
    """Read the `intel` member of an answer's collateral, or raise EvidenceMalformed."""
    if value is None:
        raise EvidenceMalformed(
            Reason.COLLATERAL_MISSING, "the server stapled no Intel collateral to its evidence"
        )
    try:
        fields = dict(strict_json.members(value, "intel collateral", set(MEMBERS), frozenset({EVENT_LOG})))
        if not all(isinstance(text, str) for text in fields.values()):
            raise ValueError("a member is not a string")
        if sum(map(len, fields.values())) > MAX_COLLATERAL_BYTES:
            raise EvidenceMalformed(
                Reason.COLLATERAL_TOO_LARGE, f"the Intel collateral exceeds {MAX_COLLATERAL_BYTES} bytes"
            )
        log = fields.pop(EVENT_LOG, None)
        event_log = None if log is None else base64url.decode(log)
        if not all(_HEXADECIMAL.fullmatch(fields[key]) for key in HEXADECIMAL):
            raise ValueError("a member is not hexadecimal")
        crls = [bytes.fromhex(fields[key]) for key in ("root_ca_crl", "pck_crl")]
        signed = [
            strict_json.decode_object(fields[key].encode(), max_bytes=MAX_COLLATERAL_BYTES)
            for key in SIGNED_JSON
        ]
    except ValueError as exc:
        raise _malformed(str(exc)) from exc
    return IntelCollateral(
        members=fields | {key: bytes.fromhex(fields[key]) for key in HEXADECIMAL},
        chains=_chains([fields[key] for key in CHAINS]),
        root_crl=chain.parse_crl(crls[0], "Intel's root CRL"),
        pck_crl=chain.parse_crl(crls[1], "Intel's PCK CRL"),
        tcb_info=signed[0],
        qe_identity=signed[1],
        event_log=event_log,
    )


def _chains(texts: Sequence[str]) -> tuple[tuple[x509.Certificate, ...], ...]:
    # TCB info and QE identity usually come with the same text: each is read once.
    parsed = {text: certificates(text.encode("utf-8", "replace")) for text in dict.fromkeys(texts)}
    return tuple(parsed[text] for text in texts)


def certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Read a PEM chain, leaf first, of two or three certificates and nothing else."""
    parsed = chain.parse_pem(pem, "an Intel certificate chain", max_certificates=MAX_CHAIN)
    if len(parsed) < 2 or any(certificate.serial_number <= 0 for certificate in parsed):
        raise EvidenceMalformed(Reason.CERTIFICATE_MALFORMED, "an Intel certificate chain is malformed")
    return parsed


def trusted_root(chains: Sequence[Sequence[x509.Certificate]], trust: Trust) -> x509.Certificate:
    """Return the one root that ends every chain, or raise EvidenceForged."""
    roots = {certificates[-1] for certificates in chains}
    root = next(iter(roots))
    if len(roots) != 1 or not trust.accepts("intel", root):
        raise unknown_root("Intel", trust)
    return root


def check_signatures(
    collateral: IntelCollateral, pck_chain: Sequence[x509.Certificate], root: x509.Certificate
) -> None:
    """Raise EvidenceForged unless every chain holds and both CRLs are signed by whom they speak for.

    The PCK CRL must come from the issuer of this very PCK certificate: a list of Intel's other PCK authority
    is genuine and never names this platform.
    """
    chain.check_issued((pck_chain, *collateral.chains), "Intel's chains")
    chain.check_crl(collateral.root_crl, root, "Intel's root CRL")
    chain.check_crl(collateral.pck_crl, pck_chain[1], "Intel's PCK CRL")


def check_signers(collateral: IntelCollateral) -> None:
    """Raise EvidenceForged unless TCB info and QE identity come with the TCB signing certificate.

    `dcap-qvl` takes any leaf under the root: with one PCK key, extracted from any old machine, an attacker
    would sign TCB info and QE identities. The root itself issues the TCB signer, and no PCK certificate.
    """
    if not all(_is_tcb_signer(certificates) for certificates in collateral.chains[1:]):
        raise EvidenceForged(
            Reason.SIGNATURE_INVALID, "TCB data are signed by another certificate than Intel's TCB signer"
        )


def _is_tcb_signer(certificates: Sequence[x509.Certificate]) -> bool:
    try:
        names = certificates[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except chain.UNREADABLE:
        return False
    return len(certificates) == 2 and len(names) == 1 and str(names[0].value).endswith(TCB_SIGNER)


def check_tee(collateral: IntelCollateral, tee: str) -> None:
    """Raise EvidenceForged unless TCB info and QE identity are those of this TEE."""
    signed = (collateral.tcb_info, collateral.qe_identity)
    if tuple(text.get("version") for text in signed) != VERSIONS:
        raise _malformed("TCB info or QE identity is of another version")
    if tuple(text.get("id") for text in signed) != IDENTITIES[tee]:
        raise EvidenceForged(
            Reason.COLLATERAL_OTHER_TEE, f"the TCB info or the QE identity is not the one for {tee}"
        )


def validity(collateral: IntelCollateral, pck_chain: Sequence[x509.Certificate]) -> Iterator[Dated]:
    """Yield when every signed text, CRL and certificate is valid, or raise EvidenceMalformed."""
    for what, signed in (("TCB info", collateral.tcb_info), ("QE identity", collateral.qe_identity)):
        yield Dated(
            f"Intel's {what}",
            _date(signed.get("issueDate")),
            _date(signed.get("nextUpdate")),
            expired=Reason.COLLATERAL_EXPIRED,
            early=Reason.COLLATERAL_NOT_YET_VALID,
        )
    yield chain.crl_dates(collateral.root_crl, "Intel's root CRL")
    yield chain.crl_dates(collateral.pck_crl, "Intel's PCK CRL")
    everything = [certificate for one in (*collateral.chains, pck_chain) for certificate in one]
    yield from chain.dates(everything, "Intel's chains")


def check_revocation(collateral: IntelCollateral, pck_chain: Sequence[x509.Certificate]) -> None:
    """Raise EvidenceRejected if a CRL lists the platform's certificate or an issuer."""
    if chain.lists(collateral.pck_crl, pck_chain[0]):
        raise EvidenceRejected(Reason.CERTIFICATE_REVOKED, "Intel revoked this platform's certificate")
    issuers = [*pck_chain[1:], *(certificate for one in collateral.chains for certificate in one)]
    if any(chain.lists(collateral.root_crl, certificate) for certificate in issuers):
        raise EvidenceRejected(
            Reason.ISSUER_REVOKED, "Intel revoked an issuer of this platform's certificate"
        )


def freshness(collateral: IntelCollateral) -> Floor:
    """Return the numbers that only ever grow; an absent CRL number counts as 0."""
    numbers = (collateral.tcb_info, collateral.qe_identity)
    evaluations = [number.get("tcbEvaluationDataNumber") for number in numbers]
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in evaluations):
        raise _malformed("no TCB evaluation number")
    return Floor(
        tcb_evaluation=min(value for value in evaluations if isinstance(value, int)),
        leaf_crl=chain.crl_number(collateral.pck_crl, "Intel's PCK CRL"),
        root_crl=chain.crl_number(collateral.root_crl, "Intel's root CRL"),
        leaf_crl_date=int(collateral.pck_crl.last_update_utc.timestamp()),
        root_crl_date=int(collateral.root_crl.last_update_utc.timestamp()),
    )


def _date(value: Any) -> int:
    """Read Intel's form of a time, 2025-06-19T10:16:03Z."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise _malformed("a date cannot be read")
    try:
        return int(datetime.datetime.fromisoformat(value).timestamp())
    except ValueError as exc:
        raise _malformed("a date cannot be read") from exc


def _malformed(what: str) -> EvidenceMalformed:
    return EvidenceMalformed(Reason.COLLATERAL_MALFORMED, f"the Intel collateral is malformed: {what}")
