"""A reference check of SEV-SNP evidence, independent of the package: it names every fault that it finds."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
PRODUCTS = ["Milan", "Genoa", "Turin"]
LEVELS_AT = {  # OID suffix -> offset in the eight bytes of a TCB
    "Milan": {"3.1": 0, "3.2": 1, "3.3": 6, "3.8": 7},
    "Genoa": {"3.1": 0, "3.2": 1, "3.3": 6, "3.8": 7},
    "Turin": {"3.9": 0, "3.1": 1, "3.2": 2, "3.3": 3, "3.8": 7},
}
VCEK_NAMES = {"Milan": "Milan-B0", "Genoa": "Genoa", "Turin": "Turin"}


def report_of(snp):
    return snp.evidence(REPORT_DATA).value


def certificates(snp):
    amd = snp.collateral()["amd"]
    leaf = x509.load_pem_x509_certificate(amd["leaf"].encode())
    issuer, root = x509.load_pem_x509_certificates(amd["issuer_chain"].encode())
    return leaf, issuer, root


def amd_extensions(certificate):
    return {
        extension.oid.dotted_string.removeprefix("1.3.6.1.4.1.3704.1."): extension.value.value
        for extension in certificate.extensions
        if isinstance(extension.value, x509.UnrecognizedExtension)
    }


def faults(snp):
    """Return the name of everything that is wrong, each checked for itself."""
    report, (leaf, issuer, root) = report_of(snp), certificates(snp)
    return {
        *chain_faults(leaf, issuer, root),
        *crl_faults(snp.collateral()["amd"].get("crl"), leaf, issuer, root),
        *leaf_faults(report, snp.machine.product, amd_extensions(leaf)),
        *report_faults(report, leaf),
    }


def chain_faults(leaf, issuer, root):
    now = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    for name, one, above in (("leaf", leaf, issuer), ("issuer", issuer, root), ("root", root, root)):
        if one.issuer != above.subject or not signed(above, one.signature, one.tbs_certificate_bytes):
            yield f"{name} signature"
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            yield f"{name} dates"


def crl_faults(text, leaf, issuer, root):
    if text is None:
        yield "crl missing"
        return
    crl = x509.load_der_x509_crl(bytes.fromhex(text))
    now = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    if crl.issuer != root.subject or not signed(root, crl.signature, crl.tbs_certlist_bytes):
        yield "crl signature"
    if not crl.last_update_utc <= now <= crl.next_update_utc:
        yield "crl dates"
    listed = {entry.serial_number for entry in crl}
    if leaf.serial_number in listed:
        yield "leaf revoked"
    if issuer.serial_number in listed:
        yield "issuer revoked"


def signed(issuer, signature, message):
    try:
        issuer.public_key().verify(signature, message, PSS, hashes.SHA384())
    except InvalidSignature:
        return False
    return True


def leaf_faults(report, product, extensions):
    is_vlek = report[0x48] >> 2 & 7 == 1
    if is_vlek != ("5" in extensions) or is_vlek == ("4" in extensions):
        yield "kind"
    elif not is_vlek and extensions["4"].ljust(64, b"\0") != report[0x1A0:0x1E0]:
        yield "chip"
    name = product if is_vlek else VCEK_NAMES[product]
    if extensions["2"] != b"\x16" + bytes([len(name)]) + name.encode():
        yield "product"
    levels = {oid: int.from_bytes(extensions[oid][2:], "big") for oid in LEVELS_AT[product]}
    if levels != {oid: report[0x180 + at] for oid, at in LEVELS_AT[product].items()}:
        yield "tcb"


def report_faults(report, leaf):
    if len(report) != 1184:
        yield "length"
    if leaf.public_key().curve.name != "secp384r1":
        yield "curve"
    r, s = (int.from_bytes(report[at : at + 72], "little") for at in (0x2A0, 0x2E8))
    try:
        leaf.public_key().verify(encode_dss_signature(r, s), report[:0x2A0], ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        yield "signature"
