"""The throw-away AMD: ARK, ASK or ASVK, and the certificate of the key that signs reports.

Extensions, their order and their encoding are those of the genuine certificates; the hardware ID is bare,
without a DER header, as AMD publishes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from blindai.tee.simulated import authority
from blindai.tee.simulated.holder import Holder
from blindai.tee.simulated.snp_machine import SnpMachine

_AMD = "1.3.6.1.4.1.3704.1."


@dataclass(frozen=True)
class SnpVendor:
    """Everyone who signs something for one machine. `leaf_der`: `leaf` with the serial number of its kind."""

    root: Holder
    issuer: Holder
    leaf: Holder
    leaf_der: bytes
    leaf_key: ec.EllipticCurvePrivateKey


def establish(machine: SnpMachine, now: int, root: Holder | None) -> SnpVendor:
    """Make a vendor; `root` lets one stay, so that the same anchor vouches for another machine or day."""
    if root is None:
        root = _root(machine, now)
    issuer = _issuer(machine, now, root)
    key = authority.ec_key(machine.leaf_curve)
    leaf = _leaf(machine, now, issuer, key)
    leaf_der = leaf.der
    if machine.leaf == "vcek":
        leaf_der = authority.with_serial_zero(
            leaf, _stranger(machine) if machine.leaf_by_stranger else issuer.key
        )
    return SnpVendor(root, issuer, leaf, leaf_der, key)


def crl(machine: SnpMachine, vendor: SnpVendor, now: int, *, renewals: int = 0) -> bytes | None:
    """Return the revocation list as of `now`, its number grown by `renewals`; None if there is to be none."""
    if machine.crl is None:
        return None
    listed = [(vendor.leaf, machine.leaf_revoked), (vendor.issuer, machine.issuer_revoked)]
    return authority.crl(
        vendor.root,
        [holder for holder, revoked in listed if revoked],
        machine.crl,
        now,
        number=None if machine.crl_number is None else machine.crl_number + renewals,
        forger=_stranger(machine) if machine.crl_by_stranger else None,
    )


def extensions(machine: SnpMachine) -> dict[str, bytes]:
    """Return AMD's extensions of the leaf: OID -> value."""
    is_vlek = machine.leaf == "vlek"
    name = machine.leaf_product or (machine.product if is_vlek else machine.traits.vcek_name)
    found = {_AMD + "1": _integer(machine.traits.struct_version), _AMD + "2": _ia5(name)}
    found |= {_AMD + oid: _integer(level) for oid, level in _levels(machine).items()}
    if is_vlek:
        found[_AMD + "5"] = _ia5(machine.csp_id)
    else:
        hwid = machine.chip[: machine.traits.hwid_bytes]
        found[_AMD + "4"] = hwid if machine.leaf_chip_id is None else machine.leaf_chip_id
    if machine.edit_leaf is not None:
        machine.edit_leaf(found)
    return found


def _levels(machine: SnpMachine) -> dict[str, int]:
    tcb = machine.tcb if machine.leaf_tcb is None else machine.leaf_tcb
    reserved = dict.fromkeys(("3.5", "3.6", "3.7"), 0)
    if machine.product == "Turin":
        named = {"3.9": tcb.fmc, "3.1": tcb.bootloader, "3.2": tcb.tee, "3.3": tcb.snp}
        return {**named, **reserved, "3.8": tcb.microcode}
    named = {"3.1": tcb.bootloader, "3.2": tcb.tee, "3.4": 0}
    return {**named, **reserved, "3.3": tcb.snp, "3.8": tcb.microcode}


def _root(machine: SnpMachine, now: int) -> Holder:
    key = authority.rsa_key("root", machine.rsa_bits)
    return authority.issue(
        f"ARK-{machine.product}",
        machine.root_window,
        now,
        key=key,
        issuer=None,
        extensions=[
            authority.key_usage("key_cert_sign", "crl_sign"),
            authority.subject_key(key),
            authority.basic_constraints(is_ca=True),
            authority.crl_location(),
        ],
    )


def _issuer(machine: SnpMachine, now: int, root: Holder) -> Holder:
    key = authority.rsa_key("issuer", machine.rsa_bits)
    of_vleks = (machine.leaf == "vlek") != machine.other_issuer
    return authority.issue(
        f"SEV-VLEK-{machine.product}" if of_vleks else f"SEV-{machine.product}",
        machine.issuer_window,
        now,
        key=key,
        issuer=root,
        extensions=[
            authority.subject_key(key),
            authority.authority_key(root.key),
            authority.basic_constraints(is_ca=True, path_length=0),
            authority.key_usage("key_cert_sign"),
            authority.crl_location(),
        ],
        forger=_stranger(machine) if machine.issuer_by_stranger else None,
    )


def _leaf(machine: SnpMachine, now: int, issuer: Holder, key: ec.EllipticCurvePrivateKey) -> Holder:
    return authority.issue(
        f"SEV-{machine.leaf.upper()}",
        machine.leaf_window,
        now,
        key=key,
        issuer=issuer,
        extensions=[
            (x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), False)
            for oid, value in extensions(machine).items()
        ],
        forger=_stranger(machine) if machine.leaf_by_stranger else None,
    )


def _stranger(machine: SnpMachine) -> rsa.RSAPrivateKey:
    return authority.rsa_key("stranger", machine.rsa_bits)


def _integer(value: int) -> bytes:
    """Return a DER INTEGER; from 128 on it takes a leading zero, or it would be negative."""
    content = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([0x02, len(content)]) + content


def _ia5(text: str) -> bytes:
    content = text.encode("ascii")
    return bytes([0x16, len(content)]) + content
