"""What endorses the reports of one AMD machine: from its host, from Azure's host service, from the KDS.

What a host hands over costs no request, and may be of another chip, of the firmware before, or nonsense. It
is looked at as the verifier will, and only what that verifier would take is stapled.
"""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from blindai.attestation.amd import endorsement
from blindai.attestation.amd.endorsement import Endorsement
from blindai.errors import AttestationError, EvidenceForged, Reason, UsageError
from blindai.transport.collateral import amd, piece
from blindai.transport.collateral.amd import Kds, Signer
from blindai.transport.collateral.collector import Reader
from blindai.transport.collateral.fallback import FallbackCollector
from blindai.transport.collateral.piece import Answer, Piece, Request
from blindai.wire import strict_json

# The metadata service of an Azure host: link-local, the one plain-http address beyond this machine.
THIM_URL = "http://169.254.169.254/metadata/THIM/amd/certification"
_MAX_JSON_BYTES = 64 * 1024


@dataclass(frozen=True)
class Services:
    """Whom to ask for what the host did not hand over. `thim` is the URL of Azure's service, on Azure."""

    kds: Kds = field(default_factory=Kds)
    thim: str | None = None


async def fetch(
    signer: Signer, given: Mapping[str, str], services: Services, collector: FallbackCollector
) -> dict[str, str]:
    """Return leaf, issuers and, if there is one, the CRL. `given` is what the host's table holds of them."""
    _check_chip(signer)
    if collector.alone:
        # A chain of the host's own making would hold together. A VLEK's leaf nobody else has.
        given = {name: pem for name, pem in given.items() if name == "leaf" and signer.kind == "vlek"}
    pair = await _pair(signer, given, services, collector)
    # A report of version 2 does not tell its product; a leaf that is this chip's does.
    product = signer.product or _endorsed(pair, signer).leaf.product.name
    request, read = services.kds.crl(product, signer.kind)
    return {**pair, **await collector.optional(request, _signed(read, pair, signer), given=_crl(given))}


def _check_chip(signer: Signer) -> None:
    if signer.kind == "vcek" and not any(signer.chip_id):
        raise UsageError(
            "the host hides the chip's id: no certificate can be shown to be this chip's",
            hint="let the operator of the host not mask it, or use a VLEK",
        )


async def _pair(
    signer: Signer, given: Mapping[str, str], services: Services, collector: FallbackCollector
) -> dict[str, str]:
    """Return a leaf, and the issuers that it belongs to."""
    of_host = _taken(given, signer)
    if of_host is not None and of_host.holds(collector.now):
        return collector.take(of_host)
    if services.thim is not None and signer.kind == "vcek":
        about = signer.chip_id + signer.tcb
        request = Request("Azure's certificates", services.thim, {"Metadata": "true"}, about=about)
        return await collector.piece(request, lambda answer: _thim(answer, signer))
    return await _pair_of_kds(signer, given, services.kds, collector)


async def _pair_of_kds(
    signer: Signer, given: Mapping[str, str], kds: Kds, collector: FallbackCollector
) -> dict[str, str]:
    product = signer.product
    if product is None:
        raise UsageError("the report does not tell its product, and no certificate of the host's fits it")
    issuers = await collector.piece(*kds.chain(product, signer.kind))
    of_host = _taken({**given, **issuers}, signer)
    if of_host is not None and of_host.holds(collector.now):
        return collector.take(of_host)
    if signer.kind == "vlek":
        raise UsageError(
            "the report is signed by a VLEK, and the host hands over no certificate that fits it",
            hint="only the cloud's operator has it: it belongs into the host's certificate table",
        )
    return {**await collector.piece(*kds.vcek(signer.chip(product))), **issuers}


def _taken(members: Mapping[str, str], signer: Signer) -> Piece | None:
    """Return leaf and issuers if they endorse this signer, by the verifier's own rules."""
    try:
        pair = {name: members[name] for name in ("leaf", "issuer_chain")}
        return Piece(pair, piece.chain_end(_endorsed(pair, signer).chain))
    except (KeyError, ValueError, AttestationError):
        return None


def _endorsed(members: Mapping[str, str], signer: Signer) -> Endorsement:
    """Read members that endorse this signer, or raise AttestationError."""
    found = endorsement.parse(dict(members))
    endorsement.check_signatures(found)
    endorsement.check_leaf(found.leaf, reported_tcb=signer.tcb, chip_id=signer.chip_id)
    if (found.leaf.hwid is None) != (signer.kind == "vlek"):
        raise EvidenceForged(Reason.SIGNING_KEY_MISMATCH, "the leaf is of the other kind of key")
    return found


def _signed(read: Reader, pair: Mapping[str, str], signer: Signer) -> Reader:
    """Return a reader of CRLs that are of these issuers: evidence does better without one of others."""

    def signed(answer: Answer) -> Piece:
        found = read(answer)
        try:
            _endorsed({**pair, **found.members}, signer)
        except AttestationError as exc:
            raise ValueError("it is not signed by the authority of this machine") from exc
        return found

    return signed


def _crl(given: Mapping[str, str]) -> bytes | None:
    try:
        return bytes.fromhex(given["crl"])
    except (KeyError, ValueError):
        return None


def _thim(answer: Answer, signer: Signer) -> Piece:
    value = strict_json.decode_object(answer.body, max_bytes=_MAX_JSON_BYTES)
    leaf, issuers = value.get("vcekCert"), value.get("certificateChain")
    if not isinstance(leaf, str) or not isinstance(issuers, str):
        raise ValueError("it lacks a certificate")
    found = _taken({"leaf": _one_spelling(leaf), **amd.chain_piece(issuers.encode()).members}, signer)
    if found is None:
        raise ValueError("it is another chip's, or for another version of the firmware")
    return dataclasses.replace(found, settled_until=answer.fetched + amd.CHAIN_SECONDS)


def _one_spelling(pem: str) -> str:
    # Not by `cryptography`, which would warn of every VCEK's serial number.
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(pem.strip()))
