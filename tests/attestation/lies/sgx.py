"""Lies about an SGX machine."""

from __future__ import annotations

from blindai.attestation.types import SGX_QUOTE, TDX_QUOTE, Evidence
from blindai.errors import Reason
from blindai.testing import EventLog, SgxPlatform
from blindai.wire import base64url
from tests.attestation.lies import intel
from tests.attestation.lies.lie import malformed, of_entry, rejected
from tests.attestation.scene import with_intel

SIGNER = f'mr_signer = "{SgxPlatform().mr_signer.hex()}"'
ENCLAVE = f'mr_enclave = "{SgxPlatform().mr_enclave.hex()}"'
CONFIG_ID_AT = 48 + 192


def by_signer(signer: str = SIGNER, product: int = 1, least: int = 1):
    return of_entry("sgx", signer, f"isv_prod_id = {product}", f"min_isv_svn = {least}")


def attributes(flags: str) -> bytes:
    return bytes.fromhex(flags + "e700000000000000")


MALFORMED = [
    malformed(
        "no quote", Reason.QUOTE_MALFORMED, tee="sgx", answer={"evidence": (Evidence(SGX_QUOTE, b"q"),)}
    ),
    malformed("called a quote of TDX", Reason.QUOTE_MALFORMED, tee="sgx", answer={"media_type": TDX_QUOTE}),
    malformed(
        "an event log",
        Reason.COLLATERAL_MALFORMED,
        tee="sgx",
        answer=lambda sgx: {"collateral": with_intel(sgx, event_log=base64url.encode(EventLog().encode()))},
    ),
]

REJECTED = [
    rejected("other code", Reason.MEASUREMENT_MISMATCH, tee="sgx", machine={"mr_enclave": b"x" * 32}),
    rejected(
        "CONFIGID of the host",
        Reason.MEASUREMENT_MISMATCH,
        tee="sgx",
        machine={"edit_signed": lambda signed: signed.__setitem__(CONFIG_ID_AT, 1)},
    ),
    rejected(
        "other CONFIGID",
        Reason.MEASUREMENT_MISMATCH,
        tee="sgx",
        client=of_entry("sgx", ENCLAVE, f'config_id = "{"ab" * 64}"'),
    ),
    rejected(
        "other signer",
        Reason.SIGNER_MISMATCH,
        tee="sgx",
        machine={"mr_signer": b"x" * 32},
        client=by_signer(),
    ),
    rejected("other product of the signer", Reason.SIGNER_MISMATCH, tee="sgx", client=by_signer(product=2)),
    rejected(
        "other signer of the same code",
        Reason.SIGNER_MISMATCH,
        tee="sgx",
        client=of_entry("sgx", ENCLAVE, f'mr_signer = "{"ab" * 32}"'),
    ),
    rejected("old enclave", Reason.SECURITY_VERSION_TOO_LOW, tee="sgx", client=by_signer(least=2)),
    *(
        rejected(what, Reason.GUEST_ATTRIBUTES, tee="sgx", machine={"attributes": attributes(flags)})
        for what, flags in (
            ("not initialised", "0400000000000000"),
            ("32 bits", "0100000000000000"),
            ("provision key", "1500000000000000"),
            ("launch key", "2500000000000000"),
            ("unknown attribute", "0500000000000080"),
        )
    ),
    rejected(
        "MISCSELECT", Reason.GUEST_ATTRIBUTES, tee="sgx", machine={"misc_select": bytes.fromhex("01000000")}
    ),
    rejected(
        "other XFRM",
        Reason.GUEST_ATTRIBUTES,
        tee="sgx",
        client=of_entry("sgx", ENCLAVE, 'attributes_xfrm = "0300000000000000"'),
    ),
]

TRUTHS = {"code by its signer": ({"mr_enclave": b"x" * 32}, by_signer())}
LIES = [*intel.shared_lies("sgx"), *MALFORMED, *REJECTED]
