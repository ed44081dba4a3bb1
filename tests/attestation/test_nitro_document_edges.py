"""The layout of a Nitro document: every size, type and index at its edge and one beyond."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from blindai.attestation import vendors
from blindai.attestation.aws import document, nitro_policy
from blindai.attestation.trust import SimulationTrust
from blindai.errors import EvidenceMalformed, EvidenceRejected, Reason
from blindai.tee.simulated import authority
from blindai.testing import FakeNitro, Window, cbor
from tests.attestation.scene import NOW, assert_refused

SECP384R1 = bytes.fromhex("06052b81040022")
ES384 = bytes.fromhex("a1013822")
SIGNATURE = bytes(range(96))
PCRS = {index: bytes([index]) * 48 for index in range(3)}
FIELDS = {
    "module_id": "i-0", "digest": "SHA384", "timestamp": NOW * 1000 + 999, "pcrs": PCRS,
    "certificate": b"leaf", "cabundle": [b"root", b"zone"],
}  # fmt: skip
ABSENT = object()


def encoded(*, protected=ES384, unprotected=None, signature=SIGNATURE, payload=None, **members):
    fields = {name: value for name, value in {**FIELDS, **members}.items() if value is not ABSENT}
    payload = cbor.encode(fields) if payload is None else payload
    return cbor.encode([protected, {} if unprotected is None else unprotected, payload, signature])


def assert_malformed(raw):
    assert_refused(lambda: document.parse(raw), Reason.DOCUMENT_MALFORMED, EvidenceMalformed)


def test_the_smallest_document():
    """Everything optional is absent; milliseconds are cut off."""
    parsed = document.parse(encoded())
    assert (parsed.user_data, parsed.nonce, parsed.public_key) == (None, None, None)
    assert (parsed.timestamp, parsed.pcrs) == (NOW, PCRS)
    assert (parsed.certificate, parsed.cabundle) == (b"leaf", (b"root", b"zone"))
    assert parsed.r.to_bytes(48, "big") + parsed.s.to_bytes(48, "big") == SIGNATURE


@pytest.mark.parametrize("size", [1, 30, 31, 40, 41, 42, 60, 61, 300, 1024])
def test_what_is_signed_is_the_sig_structure(size):
    """Of RFC 9052, whatever the length of the payload: heads of byte strings change at 256."""
    fields = {**FIELDS, "module_id": "i", "cabundle": [b"r"], "certificate": b"c" * size}
    payload = cbor.encode(fields)
    assert document.parse(encoded(payload=payload)).signed == cbor.encode(["Signature1", ES384, b"", payload])


@pytest.mark.parametrize("total", [255, 256])
def test_lengths_around_the_edge_of_a_head(total):
    """255 bytes take one byte of length, 256 take two."""
    fields = {**FIELDS, "cabundle": [b"r"], "certificate": b"c"}
    short = len(cbor.encode({**fields, "module_id": "i" * 24}))
    payload = cbor.encode({**fields, "module_id": "i" * (24 + total - short)})
    assert len(payload) == total
    assert document.parse(encoded(payload=payload)).signed == cbor.encode(["Signature1", ES384, b"", payload])


def filled(total, **members):
    """Return a document whose payload has this many bytes, the last of them in a member nobody reads."""
    without = len(cbor.encode({**FIELDS, **members, "filling": bytes(2**8)}))
    payload = cbor.encode({**FIELDS, **members, "filling": bytes(2**8 + total - without)})
    assert len(payload) == total
    return encoded(payload=payload)


def test_a_payload_of_16_kib_is_read_and_no_larger_one():
    """The limit is where it says."""
    document.parse(filled(16 * 1024))
    assert_malformed(filled(16 * 1024 + 1))


def test_a_document_of_32_kib_is_looked_at_and_no_larger_one():
    """With the payload's limit below it, only the message tells the two limits apart."""
    size = 32 * 1024 - len(encoded(payload=bytes(2**14)))
    for more, message in ((0, "longer than 16384 bytes"), (1, "longer than 32768 bytes")):
        with pytest.raises(EvidenceMalformed, match=message):
            document.parse(encoded(payload=bytes(2**14 + size + more)))


@pytest.mark.parametrize(
    "parts",
    [
        {}, "x", "four", None, 4, True, [], {0: 0, 1: 0, 2: 0, 3: 0}, [ES384, {}, b""],
        [ES384, {}, b"", SIGNATURE, b""], [b"", {}, b"", SIGNATURE], [ES384, [], b"", SIGNATURE],
        [ES384, b"", b"", SIGNATURE], [ES384, None, b"", SIGNATURE], [ES384, {}, "", SIGNATURE],
        [ES384, {}, None, SIGNATURE], [ES384, {}, 4, SIGNATURE], [ES384, {}, {}, SIGNATURE],
        [ES384, {}, None, None], [ES384, {}, cbor.encode([]), SIGNATURE],
        [ES384, {}, cbor.encode("text"), SIGNATURE],
    ],
)  # fmt: skip
def test_an_envelope_is_an_array_of_four_of_these_kinds(parts):
    """Header, empty map, payload and signature, each a byte string but the map; the payload is a map."""
    assert_malformed(cbor.encode(parts))


@pytest.mark.parametrize(
    "signature", [*map(bytes, (0, 64, 95, 97, 132)), "x" * 96, list(range(96)), None, 96]
)
def test_a_signature_is_a_byte_string_of_96(signature):
    """Two numbers of 48."""
    assert_malformed(encoded(signature=signature))


WRONG = {
    "digest": [ABSENT, None, "SHA256", "sha384", b"SHA384", 384],
    "module_id": [ABSENT, None, "", b"i-0", 1, ["i"]],
    "timestamp": [ABSENT, None, 0, -1, True, "1", b"1"],
    "pcrs": [ABSENT, None, [], [*PCRS.values()], {}, {0: PCRS[0], 1: PCRS[1]}, {0: PCRS[0], 2: PCRS[2]},
             {1: PCRS[1], 2: PCRS[2]}, {**PCRS, 32: bytes(48)}, {**PCRS, -1: bytes(48)},
             {**PCRS, "3": bytes(48)}, {**PCRS, 3: "x" * 48}, {**PCRS, 3: bytes(47)}, {**PCRS, 3: bytes(49)},
             {**PCRS, 3: b""}, {**PCRS, 3: None}],
    "certificate": [ABSENT, None, b"", "leaf", bytes(1025), [b"leaf"]],
    "cabundle": [ABSENT, None, [], b"root", {0: b"root"}, [b""], [b"root", "zone"], [b"root", None],
                 [bytes(1025)], [b"c"] * 16],
    **{name: ["", "x", 0, False, [], {}, bytes(1025)] for name in ("user_data", "nonce", "public_key")},
}  # fmt: skip


@pytest.mark.parametrize("member", WRONG)
def test_a_member_of_another_kind_or_size_is_refused(member):
    """Nothing is converted, and nothing is left out that has to be there."""
    for value in WRONG[member]:
        assert_malformed(encoded(**{member: value}))


GOOD = {
    "timestamp": [1000, 1, 2**53],
    "pcrs": [{**PCRS, 31: bytes(48)}, {index: bytes(48) for index in range(32)}],
    "certificate": [b"c", bytes(1024)],
    "cabundle": [[b"r"], [b"c"] * 15, [bytes(1024)] * 14],
    **{name: [None, b"", bytes(1024)] for name in ("user_data", "nonce", "public_key")},
}


@pytest.mark.parametrize("member", GOOD)
def test_the_edges_of_a_member_are_inside(member):
    """The smallest and the largest that AWS documents."""
    for value in GOOD[member]:
        parsed = document.parse(encoded(**{member: value}))
        if member == "timestamp":
            assert parsed.timestamp == value // 1000
        else:
            assert getattr(parsed, member) == (tuple(value) if isinstance(value, list) else value)


def test_the_tag_may_stand_in_front_once():
    """Tag 18, which some libraries write, and no other."""
    assert document.parse(b"\xd2" + encoded()) == document.parse(encoded())
    for tags in (b"\xd2\xd2", b"\xd1", b"\xd3", b"\xd8\x12"):
        assert_malformed(tags + encoded())


def verified(nitro, **payload):
    """Verify a document of this enclave, with other members in its payload."""
    other = FakeNitro(now=NOW, root=nitro.root, payload=payload)
    trust = SimulationTrust([nitro.root_sha256])
    return vendors.verify(other.evidence(bytes(64)), {}, trust=trust, now=NOW)


def unknown_curve(leaf, issuer):
    """Return the certificate with a key on a curve that nobody knows, signed by the same issuer."""
    tbs, whole = leaf.certificate.tbs_certificate_bytes, leaf.der
    assert SECP384R1 in tbs
    changed = tbs.replace(SECP384R1, SECP384R1[:-1] + b"\x7f", 1)
    start = whole.index(tbs) + len(tbs)
    signature = b"\0" + issuer.key.sign(changed, ec.ECDSA(hashes.SHA384()))
    content = changed + whole[start : start + 12] + bytes([3, len(signature)]) + signature
    return b"\x30\x82" + len(content).to_bytes(2, "big") + content


def test_a_leaf_with_another_kind_of_key_is_refused():
    """One of Ed25519, and one that cannot be read; the chain above both holds."""
    nitro = FakeNitro(now=NOW)
    issuer = nitro.chain.authorities[-1]
    ed = authority.issue(
        "leaf",
        Window(-10, 10),
        NOW,
        key=ed25519.Ed25519PrivateKey.generate(),
        issuer=issuer,
        extensions=[authority.basic_constraints(is_ca=False)],
    )
    for leaf in (ed.der, unknown_curve(nitro.chain.leaf, issuer)):
        members = {"certificate": leaf, "cabundle": nitro.chain.bundle}
        assert_refused(
            lambda members=members: verified(nitro, **members),
            Reason.CERTIFICATE_MALFORMED,
            EvidenceMalformed,
        )


def test_register_0_alone_tells_debug_mode():
    """It is the image: zero only where nothing was measured. Others may be zero."""
    nitro = FakeNitro(now=NOW)
    zero, other = bytes(48), b"x" * 48
    debug = {"pcrs": {0: zero, 1: other, 2: other}}
    assert_refused(lambda: verified(nitro, **debug), Reason.DEBUG_ENABLED, EvidenceRejected)
    assert verified(nitro, pcrs={0: other, 1: zero, 2: zero}).pcrs[1] == zero


def test_a_register_that_is_not_there_is_told_from_a_wrong_one():
    """Its value is shown where it has one."""
    claims = verified(FakeNitro(now=NOW), pcrs=dict.fromkeys(range(3), b"x" * 48))
    accept = nitro_policy.NitroAccept({0: bytes(48), 8: bytes(48)})
    found = {check.claim: check.found for check in nitro_policy.appraise(accept, claims, now=NOW)}
    assert (found["pcr0"], found["pcr8"]) == ("78" * 48, "not in the document")
