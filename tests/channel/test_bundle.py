"""A bundle is read strictly, and judged like the connection it came from."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.attestation.trust import SimulationTrust
from blindai.channel import answer, bundle
from blindai.channel.bundle import Bundle
from blindai.channel.handshake import conclude
from blindai.errors import AttestationError, EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from blindai.testing import TlsIdentity
from blindai.wire import base64url
from tests.attestation.scene import NONCE, NOW, PEER, answer_of, assert_refused, attest, policy_of, refusal

# AMD numbers every VCEK 0, which `cryptography` mentions.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")
OTHER = TlsIdentity.make("localhost", now=NOW).certificate.public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def good(tdx):
    return Bundle(PEER, NONCE, answer_of(tdx))


def judged(tdx, received):
    return conclude(
        received, policy=policy_of(tdx), trust=SimulationTrust([tdx.root_sha256]), floors={}, now=NOW
    )


def with_members(good, **members):
    return json.dumps({**good.to_json(), **members}).encode()


def test_a_bundle_survives_its_file(tdx, good):
    """Every byte that was received comes back, and the verdict with it."""
    again = Bundle.parse(good.encode())
    assert again == good
    assert again.encode() == good.encode()
    assert judged(tdx, again).verdict == attest(tdx).verdict


def test_the_largest_bundle_can_be_read(good):
    """What a client may receive it can also save."""
    largest = Bundle(PEER, NONCE, bytes(answer.MAX_ANSWER_BYTES))
    assert Bundle.parse(largest.encode()) == largest
    assert_refused(
        lambda: Bundle.parse(Bundle(PEER, NONCE, bytes(answer.MAX_ANSWER_BYTES + 1)).encode()),
        Reason.BUNDLE_MALFORMED,
        EvidenceMalformed,
    )
    surplus = b" " * (bundle.MAX_BUNDLE_BYTES + 1 - len(good.encode()))
    Bundle.parse(good.encode() + surplus[1:])
    assert_refused(lambda: Bundle.parse(good.encode() + surplus), Reason.BUNDLE_MALFORMED)


MEMBERS = ("version", "dialled", "certificate", "nonce", "answer")
STRANGE = [None, True, 0, 2, -1, 10**400, "=", "A", "AB", "AAAA=", "\ud800", "a b", [], {}, ["A"], 1.0]


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("value", STRANGE, ids=lambda value: repr(value)[:20])
def test_a_member_that_is_not_what_it_should_be(good, member, value):
    """Each member has one form."""
    text = with_members(good, **{member: value})
    assert_refused(lambda: Bundle.parse(text), Reason.BUNDLE_MALFORMED, EvidenceMalformed)


@pytest.mark.parametrize(
    "certificate", ["AAAA", base64url.encode(OTHER[:-1]), base64url.encode(OTHER + b"\0")]
)
def test_a_certificate_that_is_none(good, certificate):
    """It is refused as it would be on a connection."""
    text = with_members(good, certificate=certificate)
    assert_refused(lambda: Bundle.parse(text), Reason.CERTIFICATE_MALFORMED, EvidenceMalformed)


@pytest.mark.parametrize(
    "dialled", ["localhost\x1b[2J", "LOCALHOST", "local host", "a" * 256, "héé", "localhost\n", "a/b"]
)
def test_a_host_that_no_client_dials(good, dialled):
    """The name is shown in the verdict: a file may not steer a terminal by it."""
    assert_refused(lambda: Bundle.parse(with_members(good, dialled=dialled)), Reason.BUNDLE_MALFORMED)


@pytest.mark.parametrize("nonce", [b"", bytes(31), bytes(33)])
def test_a_nonce_of_another_length(good, nonce):
    """A nonce has 32 bytes."""
    encoded = base64url.encode(nonce)
    assert_refused(lambda: Bundle.parse(with_members(good, nonce=encoded)), Reason.BUNDLE_MALFORMED)


def test_the_object_has_exactly_its_members(good):
    """One missing, one more, one twice, bytes behind, something else altogether."""
    for member in MEMBERS:
        rest = {name: value for name, value in good.to_json().items() if name != member}
        assert_refused(lambda rest=rest: Bundle.parse(json.dumps(rest).encode()), Reason.BUNDLE_MALFORMED)
    twice = good.encode().replace(b"{", b'{"version": 1,', 1)
    for text in (
        with_members(good, extra=1), twice, good.encode() + b"{}", b"", b"[]", b"\xff", b"[" * 10**6,
        b"\xef\xbb\xbf" + good.encode(), good.encode()[:-3], good.answer,
    ):  # fmt: skip
        assert_refused(lambda text=text: Bundle.parse(text), Reason.BUNDLE_MALFORMED)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_mutated_file_ends_in_a_bundle_or_in_our_own_error(tdx, good, data):
    """Whatever is changed in the text, nothing but our own error escapes, and nothing else is proven."""
    text = bytearray(good.encode())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        attested = judged(tdx, Bundle.parse(bytes(text)))
    except AttestationError:
        return
    assert attested.tls_spki_sha256 == PEER.tls_spki_sha256


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("bit", [0, 100, 255])
def test_another_nonce_is_forged(tdx, good, bit):
    """The hardware signed for the nonce of this client and for no other."""
    text = with_members(good, nonce=base64url.encode(flipped(NONCE, bit)))
    assert_refused(lambda: judged(tdx, Bundle.parse(text)), Reason.REPORT_DATA_MISMATCH, EvidenceForged)


def test_another_certificate_is_forged(tdx, good):
    """The evidence is about the key that ended the connection."""
    text = with_members(good, certificate=base64url.encode(OTHER))
    assert_refused(lambda: judged(tdx, Bundle.parse(text)), Reason.TLS_KEY_MISMATCH, EvidenceForged)


def test_another_host_is_rejected(tdx, good):
    """The server lists the names that it may be dialled by."""
    text = with_members(good, dialled="elsewhere.example")
    assert_refused(lambda: judged(tdx, Bundle.parse(text)), Reason.NAME_MISMATCH, EvidenceRejected)


@pytest.mark.parametrize("bit", [0, 1000, 632 * 8 - 1])
def test_another_answer_is_refused(tdx, good, bit):
    """A bit of the keyset, or of what the hardware signed."""
    members = json.loads(good.answer)
    keyset = flipped(base64url.decode(members["keyset"]), bit % 800)
    media_type, quote = members["evidence"][0]
    evidence = [[media_type, base64url.encode(flipped(base64url.decode(quote), bit))]]
    for changed in ({"keyset": base64url.encode(keyset)}, {"evidence": evidence}):
        received = Bundle(PEER, NONCE, json.dumps({**members, **changed}).encode())
        refusal(lambda received=received: judged(tdx, received))
