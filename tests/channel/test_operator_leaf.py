"""What the operator issued: for these names, within the life of the keyset, and no authority."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from blindai.errors import EvidenceForged, Reason
from tests.channel.operators import CA, DAY_SECONDS, Operator, judged, usage

HOST = Operator()
LEAVES = {
    "of other names": ({"names": ("elsewhere.example",)}, "does not list the names"),
    "of only one of its names": ({"names": ("localhost",)}, "does not list the names"),
    "of any name": ({"names": ("*", "*.localhost", "localhost", "*.0.0.1")}, "does not list the names"),
    "of a longer name": ({"names": ("localhost.", "127.0.0.1")}, "does not list the names"),
    "without names": ({"names": ()}, "lists no names"),
    "ended": ({"start": -2 * DAY_SECONDS, "end": -1}, "not valid at this time"),
    "ends now": ({"end": 0}, "not valid at this time"),
    "not yet valid": ({"start": 1}, "not valid at this time"),
    "longer than the keyset": ({"end": DAY_SECONDS + 1}, "ends later than the server's keys"),
    "with SHA-224": ({"digest": hashes.SHA224()}, "did not issue"),
}


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_for_other_names_or_times_is_refused(tdx, name):
    """The operator signed this key, yet not for this: pinned or not, it is a forgery."""
    changes, why = LEAVES[name]
    leaf = HOST.issue(**{"names": ("localhost", "127.0.0.1"), **changes})
    for pin in (HOST.pin, None):
        with pytest.raises(EvidenceForged, match=why) as caught:
            judged(tdx, leaf, HOST.pem, pin, names=("localhost", "127.0.0.1"))
        assert caught.value.reason is Reason.OPERATOR_FORGED


STRANGE_LEAVES = {
    "an authority": (CA, "an authority's itself"),
    "an authority below which nothing is": (
        x509.BasicConstraints(ca=True, path_length=0),
        "an authority's itself",
    ),
    "a critical extension that is not judged": (
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b""),
        "not judged",
    ),
}


@pytest.mark.parametrize("name", STRANGE_LEAVES)
def test_a_leaf_that_is_no_plain_leaf_is_refused(tdx, name):
    """The key of an enclave may not issue further certificates in the operator's name."""
    extension, why = STRANGE_LEAVES[name]
    with pytest.raises(EvidenceForged, match=why) as caught:
        judged(tdx, HOST.issue(extension), HOST.pem, HOST.pin)
    assert caught.value.reason is Reason.OPERATOR_FORGED


@pytest.mark.parametrize("names", [("LocalHost",), ("elsewhere.example", "localhost"), ("localhost", "::1")])
def test_a_leaf_may_list_more_than_the_keyset(tdx, names):
    """Case does not matter in a name; an operator may vouch for more than the server promises."""
    assert judged(tdx, HOST.issue(names=names), HOST.pem, HOST.pin).verdict.accepted


def test_addresses_are_compared_as_addresses(tdx):
    """A keyset writes an address in its shortest form, a certificate in binary."""
    leaf = HOST.issue(names=("localhost", "::1", "192.0.2.7"))
    names = ("localhost", "::1", "192.0.2.7")
    assert judged(tdx, leaf, HOST.pem, HOST.pin, names=names).verdict.accepted


@pytest.mark.parametrize("extension", [x509.BasicConstraints(ca=False, path_length=None), usage()])
def test_a_plain_leaf_is_accepted(tdx, extension):
    """What our own server's certificates say of themselves."""
    assert judged(tdx, HOST.issue(extension), HOST.pem, HOST.pin).verdict.accepted
