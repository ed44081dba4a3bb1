"""Lies about an SEV-SNP machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blindai.attestation.types import SNP_REPORT, TDX_QUOTE, Evidence
from blindai.errors import Reason
from blindai.testing import EXPIRED, NOT_YET_VALID, SnpMachine, SnpTcb
from tests.attestation.lies.lie import Lie, forged, malformed, of_entry, of_policy, rejected
from tests.attestation.scene import machine_of, with_amd

TEE = "sev-snp"
HEALTHY = SnpMachine()
LOW = SnpTcb(4, 0, 23, 219)
CODE = f'measurement = "{HEALTHY.measurement.hex()}"\nboot = "direct"'
OF_TURIN = (0x1A, 0x02, 1)


def amd(**members: str) -> Callable[[Any], dict[str, Any]]:
    return lambda snp: {"collateral": with_amd(snp, **members)}


def another(member: str, **knobs: Any) -> Callable[[Any], dict[str, Any]]:
    """Return an answer in which a member is what the same root says of this chip with another key."""

    def answer(snp: Any) -> dict[str, Any]:
        other = machine_of(TEE, root=snp.root, chip_id=snp.machine.chip, **knobs)
        return {"collateral": with_amd(snp, **{member: other.collateral()["amd"][member]})}

    return answer


def byte(offset: int, value: int) -> Callable[[bytearray], None]:
    return lambda report: report.__setitem__(offset, value)


def without(oid: str) -> Callable[[dict[str, bytes]], None]:
    return lambda extensions: extensions.pop(f"1.3.6.1.4.1.3704.1.{oid}") and None


def lie(make: Callable[..., Lie], name: str, reason: Reason, **knobs: Any) -> Lie:
    return make(name, reason, tee=TEE, machine=knobs)


MALFORMED = [
    malformed(
        "no report", Reason.REPORT_MALFORMED, tee=TEE, answer={"evidence": (Evidence(SNP_REPORT, b"r"),)}
    ),
    malformed("called a TDX quote", Reason.QUOTE_MALFORMED, tee=TEE, answer={"media_type": TDX_QUOTE}),
    lie(malformed, "byte behind", Reason.REPORT_MALFORMED, trailing=b"\0"),
    lie(malformed, "version 1", Reason.REPORT_MALFORMED, version=1),
    lie(malformed, "version 6", Reason.REPORT_MALFORMED, version=6),
    lie(malformed, "other algorithm", Reason.REPORT_MALFORMED, signature_algo=2),
    lie(malformed, "signing key none", Reason.REPORT_MALFORMED, signing_key=7),
    lie(malformed, "reserved byte", Reason.REPORT_MALFORMED, edit=byte(0x4C, 1)),
    lie(malformed, "reserved policy bit", Reason.REPORT_MALFORMED, more_policy=1 << 40),
    lie(malformed, "bit 17 of the policy", Reason.REPORT_MALFORMED, policy=0x1001F),
    lie(malformed, "surplus of the signature", Reason.REPORT_MALFORMED, edit_signed=byte(0x2A0 + 60, 1)),
    malformed("no collateral", Reason.COLLATERAL_MISSING, tee=TEE, answer={"collateral": {}}),
    malformed("list collateral", Reason.COLLATERAL_MALFORMED, tee=TEE, answer={"collateral": {"amd": []}}),
    malformed("CRL not hex", Reason.COLLATERAL_MALFORMED, tee=TEE, answer=amd(crl="zz")),
    malformed("CRL not DER", Reason.COLLATERAL_MALFORMED, tee=TEE, answer=amd(crl="00")),
    malformed("large", Reason.COLLATERAL_TOO_LARGE, tee=TEE, answer=amd(crl="00" * 2**17)),
    malformed("leaf no PEM", Reason.CERTIFICATE_MALFORMED, tee=TEE, answer=amd(leaf="x")),
    malformed(
        "ARK alone",
        Reason.CERTIFICATE_MALFORMED,
        tee=TEE,
        answer=lambda snp: {"collateral": with_amd(snp, issuer_chain=snp.root_pem)},
    ),
    lie(malformed, "leaf of another curve", Reason.CERTIFICATE_MALFORMED, leaf_curve="P-256"),
    lie(malformed, "leaf of an unknown product", Reason.CERTIFICATE_MALFORMED, leaf_product="Venice"),
    lie(malformed, "leaf without chip", Reason.CERTIFICATE_MALFORMED, edit_leaf=without("4")),
    lie(malformed, "leaf without TCB", Reason.CERTIFICATE_MALFORMED, edit_leaf=without("3.8")),
]

FORGED = [
    forged(
        "another root",
        Reason.ROOT_UNKNOWN,
        tee=TEE,
        answer=lambda _: {"collateral": machine_of(TEE).collateral()},
    ),
    lie(forged, "leaf by a stranger", Reason.CHAIN_INVALID, leaf_by_stranger=True),
    lie(forged, "issuer by a stranger", Reason.CHAIN_INVALID, issuer_by_stranger=True),
    forged(
        "wrong chain: the ASVK above a VCEK",
        Reason.CHAIN_INVALID,
        tee=TEE,
        answer=another("issuer_chain", leaf="vlek"),
    ),
    lie(forged, "CRL by a stranger", Reason.CRL_FORGED, crl_by_stranger=True),
    forged("wrong leaf: of another key", Reason.SIGNATURE_INVALID, tee=TEE, answer=another("leaf")),
    lie(forged, "signed by a stranger", Reason.SIGNATURE_INVALID, signed_by_stranger=True),
    lie(forged, "unsigned", Reason.SIGNATURE_INVALID, unsigned=True),
    lie(forged, "flip in the measurement", Reason.SIGNATURE_INVALID, flipped_bit_at=0x90),
    lie(forged, "flip in the report data", Reason.SIGNATURE_INVALID, flipped_bit_at=0x50),
    lie(forged, "flip in the signature", Reason.SIGNATURE_INVALID, flipped_bit_at=0x2A0),
    lie(forged, "flip at the end", Reason.SIGNATURE_INVALID, flipped_bit_at=0x1F7),
    lie(forged, "flip at the end, v5", Reason.SIGNATURE_INVALID, version=5, flipped_bit_at=0x207),
    lie(forged, "wrong leaf: of another chip", Reason.CHIP_MISMATCH, leaf_chip_id=b"c" * 64),
    lie(
        forged,
        "masked chip",
        Reason.CHIP_MISMATCH,
        chip_id=bytes(64),
        leaf_chip_id=b"c" * 64,
        mask_chip_key=True,
    ),
    lie(forged, "wrong leaf: of another TCB", Reason.LEAF_TCB_MISMATCH, leaf_tcb=LOW),
    lie(
        forged,
        "wrong leaf: of a newer TCB",
        Reason.LEAF_TCB_MISMATCH,
        reported_tcb=LOW,
        leaf_tcb=HEALTHY.tcb,
    ),
    lie(forged, "VLEK called VCEK", Reason.SIGNING_KEY_MISMATCH, leaf="vlek", signing_key=0),
    lie(forged, "VCEK called VLEK", Reason.SIGNING_KEY_MISMATCH, signing_key=1),
    lie(forged, "the ASVK issued a VCEK", Reason.SIGNING_KEY_MISMATCH, other_issuer=True),
    lie(forged, "the ASK issued a VLEK", Reason.SIGNING_KEY_MISMATCH, leaf="vlek", other_issuer=True),
    forged(
        "VLEK stapled for a VCEK", Reason.SIGNING_KEY_MISMATCH, tee=TEE, answer=another("leaf", leaf="vlek")
    ),
    lie(forged, "Turin that shows a leaf of Milan", Reason.PRODUCT_MISMATCH, cpuid=OF_TURIN),
    lie(forged, "Milan that shows a leaf of Genoa", Reason.PRODUCT_MISMATCH, leaf_product="Genoa"),
    lie(forged, "Milan's TCB in Turin's order", Reason.LEAF_TCB_MISMATCH, tcb_layout="Turin"),
    lie(
        forged,
        "Turin's TCB in Milan's order",
        Reason.LEAF_TCB_MISMATCH,
        product="Turin",
        tcb_layout="Milan",
    ),
    lie(forged, "no processor", Reason.PRODUCT_MISMATCH, cpuid=(0x17, 0x31, 0)),
]

REJECTED = [
    lie(rejected, "debug", Reason.DEBUG_ENABLED, debug=True),
    lie(rejected, "leaf expired", Reason.CERTIFICATE_EXPIRED, leaf_window=EXPIRED),
    lie(rejected, "leaf from the future", Reason.CERTIFICATE_NOT_YET_VALID, leaf_window=NOT_YET_VALID),
    lie(rejected, "issuer expired", Reason.CERTIFICATE_EXPIRED, issuer_window=EXPIRED),
    lie(rejected, "root expired", Reason.CERTIFICATE_EXPIRED, root_window=EXPIRED),
    lie(rejected, "CRL expired", Reason.CRL_EXPIRED, crl=EXPIRED),
    lie(rejected, "CRL from the future", Reason.COLLATERAL_NOT_YET_VALID, crl=NOT_YET_VALID),
    lie(rejected, "no CRL", Reason.CRL_MISSING, crl=None),
    lie(rejected, "VLEK revoked", Reason.CERTIFICATE_REVOKED, leaf="vlek", leaf_revoked=True),
    lie(rejected, "issuer revoked", Reason.ISSUER_REVOKED, issuer_revoked=True),
    lie(rejected, "all too low", Reason.TCB_TOO_LOW, reported_tcb=LOW),
    lie(
        rejected,
        "reported_tcb too low",
        Reason.TCB_TOO_LOW,
        reported_tcb=LOW,
        current_tcb=HEALTHY.tcb,
        committed_tcb=HEALTHY.tcb,
        launch_tcb=HEALTHY.tcb,
    ),
    *(
        lie(rejected, f"{name} too low", Reason.TCB_TOO_LOW, **{name: LOW})
        for name in ("current_tcb", "committed_tcb", "launch_tcb")
    ),
    rejected(
        "mitigation missing",
        Reason.TCB_TOO_LOW,
        tee=TEE,
        machine={"version": 5, "launch_mitigations": 0b11, "current_mitigations": 0b01},
        client=of_policy(entry="require_mitigations = [1]"),
    ),
    lie(rejected, "SMT", Reason.PLATFORM_CONFIGURATION, platform_info=0b100101),
    lie(rejected, "aliases unchecked", Reason.PLATFORM_CONFIGURATION, platform_info=0b000100),
    lie(rejected, "another product", Reason.PLATFORM_CONFIGURATION, product="Genoa"),
    rejected(
        "no encryption of ciphertext",
        Reason.PLATFORM_CONFIGURATION,
        tee=TEE,
        client=of_policy(entry='require_platform_info = ["ciphertext_hiding_dram"]'),
    ),
    lie(rejected, "other code", Reason.MEASUREMENT_MISMATCH, measurement=b"x" * 48),
    lie(rejected, "host data of the host", Reason.HOST_DATA_MISMATCH, host_data=b"h" * 32),
    rejected(
        "other host data",
        Reason.HOST_DATA_MISMATCH,
        tee=TEE,
        client=of_policy(entry=f'host_data = "{"ab" * 32}"'),
    ),
    *(
        rejected(
            f"other {key}",
            Reason.SIGNER_MISMATCH,
            tee=TEE,
            machine={key: b"k" * 48},
            client=of_policy(entry=f'{key} = "{"ab" * 48}"'),
        )
        for key in ("id_key_digest", "author_key_digest")
    ),
    rejected(
        "old guest", Reason.SECURITY_VERSION_TOO_LOW, tee=TEE, client=of_policy(entry="min_guest_svn = 1")
    ),
    lie(rejected, "migration", Reason.GUEST_POLICY, migrate_ma=True),
    rejected(
        "several sockets",
        Reason.GUEST_POLICY,
        tee=TEE,
        client=of_policy(entry='require_guest_policy = ["single_socket"]'),
    ),
    *(lie(rejected, f"vmpl {level}", Reason.VMPL_TOO_HIGH, vmpl=level) for level in (1, 2, 3)),
]

TRUTHS: dict[str, Any] = {
    "a VLEK": ({"leaf": "vlek"}, None),
    "no CRL": ({"crl": None}, of_policy(entry='relax = ["no-crl"]')),
    **{
        f"{product}, any TCB": (
            {"product": product},
            of_entry(TEE, CODE, 'relax = ["any-tcb"]'),
        )
        for product in ("Genoa", "Turin")
    },
}
LIES = [*MALFORMED, *FORGED, *REJECTED]
