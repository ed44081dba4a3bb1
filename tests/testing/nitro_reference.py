"""A reference check of Nitro documents, independent of the package: it names every fault that it finds."""

from __future__ import annotations

import datetime
import itertools

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))
MEMBERS = [
    "module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle", "public_key", "user_data", "nonce",
]  # fmt: skip


class Pairs(list):
    """A map as it was written: keys in their order, repeated ones too."""


def decode(data):
    value, end = item(data, 0)
    assert end == len(data), "trailing bytes"
    return value


def item(data, at):
    major, argument, at = data[at] >> 5, data[at] & 31, at + 1
    if major == 7:
        return {20: False, 21: True, 22: None}[argument], at
    if 24 <= argument <= 27:
        size = 1 << argument - 24
        argument, at = int.from_bytes(data[at : at + size], "big"), at + size
    if major in (2, 3):
        text = data[at : at + argument]
        return (text if major == 2 else text.decode()), at + argument
    if major == 4:
        return several(data, at, argument)
    if major == 5:
        open_ended = argument == 31
        values, at = several(data, at, None if open_ended else 2 * argument)
        return Pairs(zip(values[::2], values[1::2], strict=True)), at + open_ended
    if major == 6:
        value, at = item(data, at)
        return (argument, value), at
    return (argument if major == 0 else -1 - argument), at


def several(data, at, count):
    values = []
    while data[at] != 0xFF if count is None else len(values) < count:
        value, at = item(data, at)
        values.append(value)
    return values, at


def bstr(data):
    """Encode a byte string with its two-byte length, as both genuine and fake payloads need it."""
    return b"\x59" + len(data).to_bytes(2, "big") + data


def faults(document, root_der, now=NOW):
    """Return the name of everything that is wrong, each checked for itself."""
    envelope = decode(document)
    if isinstance(envelope, tuple):
        assert envelope[0] == 18
        envelope = envelope[1]
    protected, unprotected, payload, signature = envelope
    members = dict(decode(payload))
    return {
        *envelope_faults(protected, unprotected, decode(payload)),
        *signature_faults(protected, payload, signature, members["certificate"]),
        *chain_faults(members["cabundle"], members["certificate"], root_der, now),
        *member_faults(members, now),
    }


def envelope_faults(protected, unprotected, pairs):
    if protected != bytes.fromhex("a1013822") or unprotected != []:
        yield "headers"
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        yield "repeated"
    if set(names) != set(MEMBERS):
        yield "members"


def signature_faults(protected, payload, signature, leaf_der):
    # ["Signature1", protected, external_aad, payload], RFC 9052 section 4.4
    head = b"\x84\x6aSignature1" + bytes([0x40 | len(protected)]) + protected + b"\x40"
    half = len(signature) // 2
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    key = x509.load_der_x509_certificate(leaf_der).public_key()
    if len(signature) != 96 or key.curve.name != "secp384r1":
        yield "curve"
    try:
        key.verify(encode_dss_signature(r, s), head + bstr(payload), ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        yield "signature"


def chain_faults(bundle, leaf_der, root_der, now):
    chain = [x509.load_der_x509_certificate(der) for der in (*bundle, leaf_der)]
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    if bundle[0] != root_der:
        yield "root"
    for depth, (above, one) in enumerate(itertools.pairwise(chain)):
        if not issued(above, one):
            yield f"issued {depth + 1}"
    for depth, one in enumerate(chain):
        if not one.not_valid_before_utc <= moment <= one.not_valid_after_utc:
            yield f"dates {depth}"
        constraints = one.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = one.extensions.get_extension_for_class(x509.KeyUsage).value
        is_leaf = depth == len(chain) - 1
        if is_leaf in (constraints.ca, usage.key_cert_sign):
            yield f"authority {depth}"
        below = len(chain) - depth - 2
        if constraints.path_length is not None and constraints.path_length < below:
            yield f"path length {depth}"


def issued(above, one):
    try:
        one.verify_directly_issued_by(above)
    except (InvalidSignature, ValueError):
        return False
    return True


def member_faults(members, now):
    pcrs = dict(members["pcrs"])
    if members["digest"] != "SHA384" or {len(value) for value in pcrs.values()} != {48}:
        yield "digest"
    if not any(pcrs[0]):
        yield "debug"
    if abs(members["timestamp"] / 1000 - now) > 300:
        yield "timestamp"
