"""A quote of a platform that was met before: all but the report data, and so the signature, is known.

`dcap-qvl` has verified another quote, with the same collateral and by the same attestation key, that differs
in these two alone. It uses the report data for nothing but the signature. So what is left to verify is that
key's signature over this quote. Whatever does not hold here goes the whole way, and is refused there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from blindai.attestation.intel import dcap
from blindai.attestation.intel.memory import Memory
from blindai.attestation.intel.quote import Quote
from blindai.attestation.intel.vetted import Vetted

MAX_KEPT = 16

Key = tuple[Vetted, tuple[bytes, bytes, bytes]]
"""The very collateral and root, and all of the quote but report data and signature."""


@dataclass(frozen=True)
class _Met:
    attestation_key: ec.EllipticCurvePublicKey
    verified: Mapping[str, Any]


_met: Memory[Key, _Met] = Memory(MAX_KEPT)


def verify(quote: Quote, held: Vetted, *, now: int) -> Mapping[str, Any]:
    """Return what `dcap.verify` says of the quote, or raise AttestationError.

    `held` was vetted for this quote's chain, root, TEE and time.
    """
    key = held, quote.all_but_report_data_and_signature
    met = _met.get(key)
    if met is not None and _signed(quote, met.attestation_key):
        return _with(met.verified, quote.report_data.hex())
    verified = dcap.verify(quote.signed, held.collateral.members, root_der=held.root_der, now=now)
    # What would be replaced is where it is expected, or nothing is remembered.
    if _with(verified, quote.report_data.hex()) == verified:
        point = b"\x04" + quote.attestation_key
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        _met.keep(key, _Met(public, verified))
    return verified


def forget() -> None:
    """Forget all platforms, as if this process had met none yet."""
    _met.forget()


def _signed(quote: Quote, key: ec.EllipticCurvePublicKey) -> bool:
    try:
        key.verify(encode_dss_signature(*quote.signature), quote.body, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _with(verified: Mapping[str, Any], report_data: str) -> Mapping[str, Any]:
    """Return the same, in `dcap-qvl`'s JSON, with other report data. Nothing that is shared is changed."""
    ((kind, report),) = verified["report"].items()
    if "base" in report:
        body = {**report, "base": {**report["base"], "report_data": report_data}}
    else:
        body = {**report, "report_data": report_data}
    return {**verified, "report": {kind: body}}
