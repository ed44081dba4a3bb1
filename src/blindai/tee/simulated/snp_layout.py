"""The attestation report of SEV-SNP, field by field (AMD firmware ABI 1.55 to 1.58)."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from blindai.tee.simulated.snp_machine import SnpMachine, SnpTcb

REPORT_BYTES = 0x4A0
SIGNED_BYTES = 0x2A0
_COMPONENT_BYTES = 72
_SIGNING_KEY = {"vcek": 0, "vlek": 1}


def compose(machine: SnpMachine, report_data: bytes) -> bytearray:
    """Return the whole report, not signed yet."""
    report = bytearray(REPORT_BYTES)
    for offset, data in (*_guest(machine), *_host(machine), (0x50, report_data)):
        report[offset : offset + len(data)] = data
    if machine.edit is not None:
        machine.edit(report)
    return report


def sign(report: bytearray, key: ec.EllipticCurvePrivateKey) -> None:
    """Write the signature over everything before it: r and s, little-endian, 72 bytes each."""
    components = decode_dss_signature(key.sign(bytes(report[:SIGNED_BYTES]), ec.ECDSA(hashes.SHA384())))
    encoded = b"".join(number.to_bytes(_COMPONENT_BYTES, "little") for number in components)
    report[SIGNED_BYTES : SIGNED_BYTES + len(encoded)] = encoded


def guest_policy(machine: SnpMachine) -> int:
    """Return the policy that the guest's owner gave at launch."""
    if machine.policy is not None:
        return machine.policy
    return (
        machine.abi_minor
        | machine.abi_major << 8
        | machine.smt << 16
        | 1 << 17  # reserved, always one
        | machine.migrate_ma << 18
        | machine.debug << 19
        | machine.single_socket << 20
        | machine.more_policy
    )


def _guest(machine: SnpMachine) -> list[tuple[int, bytes]]:
    return [
        (0x004, _number(machine.guest_svn, 4)),
        (0x008, _number(guest_policy(machine), 8)),
        (0x010, machine.family_id),
        (0x020, machine.image_id),
        (0x030, _number(machine.vmpl, 4)),
        (0x090, machine.measurement),
        (0x0C0, machine.host_data),
        (0x0E0, machine.id_key_digest),
        (0x110, machine.author_key_digest),
        (0x140, machine.report_id),
        (0x160, machine.report_id_ma),
    ]


def _host(machine: SnpMachine) -> list[tuple[int, bytes]]:
    fields = [
        (0x000, _number(machine.version, 4)),
        (0x034, _number(machine.signature_algo, 4)),
        (0x038, _levels(machine, machine.current_tcb)),
        (0x040, _number(machine.platform_info, 8)),
        (0x048, _number(_flags(machine), 4)),
        (0x180, _levels(machine, machine.reported_tcb)),
        (0x1A0, machine.chip),
        (0x1E0, _levels(machine, machine.committed_tcb)),
        (0x1E8, bytes(reversed(machine.firmware))),
        (0x1EC, bytes(reversed(machine.committed_firmware or machine.firmware))),
        (0x1F0, _levels(machine, machine.launch_tcb)),
    ]
    if machine.version >= 3:
        fields.append((0x188, bytes(machine.cpuid or machine.traits.cpuid)))
    if machine.version >= 5:
        fields.append((0x1F8, _number(machine.launch_mitigations, 8)))
        fields.append((0x200, _number(machine.current_mitigations, 8)))
    return fields


def _flags(machine: SnpMachine) -> int:
    signing_key = _SIGNING_KEY[machine.leaf] if machine.signing_key is None else machine.signing_key
    return any(machine.author_key_digest) | machine.mask_chip_key << 1 | signing_key << 2


def _levels(machine: SnpMachine, tcb: SnpTcb | None) -> bytes:
    return (machine.tcb if tcb is None else tcb).encode(machine.tcb_layout or machine.product)


def _number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")
