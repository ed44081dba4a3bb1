"""Lies about what both Intel TEEs have: quote, collateral, certificates, CRLs, TCB."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from blindai.errors import Reason
from blindai.testing import EXPIRED, NOT_YET_VALID
from tests.attestation.lies.lie import Lie, forged, malformed, of_policy, rejected
from tests.attestation.scene import machine_of, with_intel

FIRST_OF_CERTIFICATION = {"tdx": 770, "sgx": 564}
BODY = {"tdx": 48, "sgx": 48}
REPORT_DATA_ENDS = {"tdx": 48 + 583, "sgx": 48 + 383}
SIGNATURE = {"tdx": 636, "sgx": 436}


def intel(**members: str) -> Callable[[Any], Mapping[str, Any]]:
    return lambda machine: {"collateral": with_intel(machine, **members)}


def another_vendors(tee: str, *names: str) -> Callable[[Any], Mapping[str, Any]]:
    """Return an answer in which these members are those of another simulated vendor."""
    return lambda machine: {
        "collateral": with_intel(
            machine, **{name: machine_of(tee).collateral()["intel"][name] for name in names}
        )
    }


def chain_with_a_stranger(machine: Any) -> Mapping[str, Any]:
    """Keep the trusted root at the end, and put a TCB signer before it that it never issued."""
    signer = machine_of(machine.tee).collateral()["intel"]["tcb_info_issuer_chain"]
    first = signer[: signer.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----\n")]
    return {"collateral": with_intel(machine, tcb_info_issuer_chain=first + machine.root_pem)}


def signed_by_the_platforms_key(member: str) -> Callable[[Any], Mapping[str, Any]]:
    """Return an answer in which the key of a PCK, extracted from any old machine, signs TCB data."""

    def answer(machine: Any) -> Mapping[str, Any]:
        vendor = machine._vendor
        signature = vendor.pck.sign(machine.collateral()["intel"][member].encode()).hex()
        changed = {f"{member}_issuer_chain": vendor.pck_chain_pem, f"{member}_signature": signature}
        return {"collateral": with_intel(machine, **changed)}

    return answer


def malformed_ones(tee: str) -> list[Lie]:
    return [
        malformed("byte behind", Reason.QUOTE_TRAILING_BYTES, tee=tee, machine={"trailing": b"\0\0\1"}),
        malformed(
            "quote of another version",
            Reason.QUOTE_MALFORMED,
            tee=tee,
            machine={"edit_signed": lambda signed: signed.__setitem__(0, 9)},
        ),
        malformed("no collateral", Reason.COLLATERAL_MISSING, tee=tee, answer={"collateral": {}}),
        malformed(
            "null collateral", Reason.COLLATERAL_MISSING, tee=tee, answer={"collateral": {"intel": None}}
        ),
        malformed(
            "list collateral", Reason.COLLATERAL_MALFORMED, tee=tee, answer={"collateral": {"intel": []}}
        ),
        malformed("large", Reason.COLLATERAL_TOO_LARGE, tee=tee, answer=intel(tcb_info=" " * 2**18)),
        malformed("CRL not hex", Reason.COLLATERAL_MALFORMED, tee=tee, answer=intel(pck_crl="zz")),
        malformed("CRL not DER", Reason.COLLATERAL_MALFORMED, tee=tee, answer=intel(root_ca_crl="00")),
        malformed("TCB info no JSON", Reason.COLLATERAL_MALFORMED, tee=tee, answer=intel(tcb_info="{")),
        malformed(
            "chain no PEM", Reason.CERTIFICATE_MALFORMED, tee=tee, answer=intel(tcb_info_issuer_chain="x")
        ),
        malformed(
            "empty chain", Reason.CERTIFICATE_MALFORMED, tee=tee, answer=intel(pck_crl_issuer_chain="")
        ),
        malformed(
            "long chain",
            Reason.CERTIFICATE_MALFORMED,
            tee=tee,
            answer=lambda machine: {
                "collateral": with_intel(machine, tcb_info_issuer_chain=machine.root_pem * 4)
            },
        ),
    ]


def forged_ones(tee: str) -> list[Lie]:
    other = {"tdx": "sgx", "sgx": "tdx"}[tee]
    id_of = {"tdx": ("TDX", "TD_QE"), "sgx": ("SGX", "QE")}[other]
    return [
        forged(
            "another root",
            Reason.ROOT_UNKNOWN,
            tee=tee,
            answer=lambda _: {"collateral": machine_of(tee).collateral()},
        ),
        forged(
            "one foreign chain",
            Reason.ROOT_UNKNOWN,
            tee=tee,
            answer=another_vendors(tee, "tcb_info_issuer_chain"),
        ),
        forged(
            "a TCB signer whom the root did not issue",
            Reason.CHAIN_INVALID,
            tee=tee,
            answer=chain_with_a_stranger,
        ),
        forged(
            "root CRL of another vendor",
            Reason.CRL_FORGED,
            tee=tee,
            answer=another_vendors(tee, "root_ca_crl"),
        ),
        forged(
            "PCK CRL of another vendor", Reason.CRL_FORGED, tee=tee, answer=another_vendors(tee, "pck_crl")
        ),
        *(
            forged(f"flip in {what}", Reason.SIGNATURE_INVALID, tee=tee, machine={"flipped_bit_at": offset})
            for what, offset in (
                ("the body", BODY[tee] + 136),
                ("the report data", REPORT_DATA_ENDS[tee]),
                ("the signature", SIGNATURE[tee] + 4),
                ("the key", SIGNATURE[tee] + 64),
                ("the QE report", FIRST_OF_CERTIFICATION[tee] + 30),
            )
        ),
        forged(
            "TCB signature", Reason.SIGNATURE_INVALID, tee=tee, answer=intel(tcb_info_signature="00" * 64)
        ),
        forged(
            "QE signature", Reason.SIGNATURE_INVALID, tee=tee, answer=intel(qe_identity_signature="00" * 64)
        ),
        *(
            forged(
                f"{member} signed by the platform's key",
                Reason.SIGNATURE_INVALID,
                tee=tee,
                answer=signed_by_the_platforms_key(member),
            )
            for member in ("tcb_info", "qe_identity")
        ),
        forged(
            "another quoting enclave",
            Reason.SIGNATURE_INVALID,
            tee=tee,
            machine={"qe_identity_mrsigner": b"q" * 32},
        ),
        forged(
            "another FMSPC", Reason.COLLATERAL_MISMATCH, tee=tee, machine={"tcb_info_fmspc": b"SIM\1\1\1"}
        ),
        forged(
            "TCB info of the other TEE",
            Reason.COLLATERAL_OTHER_TEE,
            tee=tee,
            machine={"tcb_info_id": id_of[0]},
        ),
        forged(
            "QE identity of the other TEE",
            Reason.COLLATERAL_OTHER_TEE,
            tee=tee,
            machine={"qe_identity_id": id_of[1]},
        ),
        forged(
            "collateral of the other TEE",
            Reason.COLLATERAL_OTHER_TEE,
            tee=tee,
            answer=lambda machine: {"collateral": machine_of(other, root=machine.root).collateral()},
        ),
    ]


EARLY_AND_LATE = {
    "collateral": (Reason.COLLATERAL_NOT_YET_VALID, Reason.COLLATERAL_EXPIRED),
    "tcb_info": (Reason.COLLATERAL_NOT_YET_VALID, Reason.COLLATERAL_EXPIRED),
    "qe_identity": (Reason.COLLATERAL_NOT_YET_VALID, Reason.COLLATERAL_EXPIRED),
    "pck_crl": (Reason.COLLATERAL_NOT_YET_VALID, Reason.CRL_EXPIRED),
    "root_crl": (Reason.COLLATERAL_NOT_YET_VALID, Reason.CRL_EXPIRED),
    "certificates": (Reason.CERTIFICATE_NOT_YET_VALID, Reason.CERTIFICATE_EXPIRED),
}
STATUSES = {
    "SWHardeningNeeded": Reason.TCB_HARDENING_NEEDED,
    "ConfigurationNeeded": Reason.TCB_CONFIGURATION_NEEDED,
    "ConfigurationAndSWHardeningNeeded": Reason.TCB_CONFIGURATION_NEEDED,
    "OutOfDate": Reason.TCB_OUT_OF_DATE,
    "OutOfDateConfigurationNeeded": Reason.TCB_OUT_OF_DATE,
}


def rejected_ones(tee: str) -> list[Lie]:
    return [
        rejected("debug", Reason.DEBUG_ENABLED, tee=tee, machine={"debug": True}),
        *(
            rejected(f"{piece} {word}", reason, tee=tee, machine={piece: window})
            for piece, reasons in EARLY_AND_LATE.items()
            for word, window, reason in zip(
                ("from the future", "expired"), (NOT_YET_VALID, EXPIRED), reasons, strict=True
            )
        ),
        rejected("PCK revoked", Reason.CERTIFICATE_REVOKED, tee=tee, machine={"pck_revoked": True}),
        rejected(
            "platform CA revoked", Reason.ISSUER_REVOKED, tee=tee, machine={"platform_ca_revoked": True}
        ),
        rejected("TCB signer revoked", Reason.ISSUER_REVOKED, tee=tee, machine={"tcb_signer_revoked": True}),
        rejected("TCB revoked", Reason.TCB_REVOKED, tee=tee, machine={"tcb_status": "Revoked"}),
        rejected("QE revoked", Reason.TCB_REVOKED, tee=tee, machine={"qe_status": "Revoked"}),
        rejected("below every level", Reason.TCB_UNKNOWN, tee=tee, machine={"tcb_status": None}),
        *(
            rejected(f"status {status}", reason, tee=tee, machine={"tcb_status": status})
            for status, reason in STATUSES.items()
        ),
        rejected("QE out of date", Reason.TCB_OUT_OF_DATE, tee=tee, machine={"qe_status": "OutOfDate"}),
        rejected("advisory", Reason.TCB_ADVISORY, tee=tee, machine={"advisories": ("INTEL-SA-00001",)}),
        rejected(
            "old evaluation",
            Reason.TCB_EVALUATION,
            tee=tee,
            client=of_policy(entry="min_tcb_evaluation = 19"),
        ),
        *(
            rejected(feature, Reason.PLATFORM_CONFIGURATION, tee=tee, machine={feature: True})
            for feature in ("dynamic_platform", "cached_keys", "smt")
        ),
    ]


def shared_lies(tee: str) -> list[Lie]:
    """Return the lies that both Intel TEEs can be told, of this one."""
    return [*malformed_ones(tee), *forged_ones(tee), *rejected_ones(tee)]
