"""Splice: every piece is genuine, and they are not of one machine, one keyset, one name."""

from __future__ import annotations

import json
import time

import pytest

from blindai.channel import answer
from blindai.errors import Reason
from blindai.testing import make_keyset
from blindai.wire import base64url
from tests.attacks.conftest import NAMES, only_tdx
from tests.attacks.middle import Middle, pass_on
from tests.attacks.refusing import refused, send
from tests.transport.dialling import quiet
from tests.transport.driving import driven

only_snp = pytest.mark.parametrize("vendor", ["sev-snp"], indirect=True)
MEMBERS = {
    "pck_crl": Reason.CRL_FORGED,
    "tcb_info": Reason.SIGNATURE_INVALID,
    "qe_identity_signature": Reason.SIGNATURE_INVALID,
}


@pytest.fixture
def genuine_answer(victim, demands):
    """What the operator's real server told the attacker, who asked as everybody may."""
    with quiet(), driven("sync", demands(victim.port)) as own:
        own.get()
        return answer.parse(own.transport.session.bundle.answer)


def test_collateral_of_another_machine(vendor, enclave, demands, colour):
    """Both machines are the vendor's, healthy and up to date; the lists of one say nothing of the other."""
    with enclave(collateral=vendor.machine().collateral()) as peer:
        found = refused(colour, demands(peer.port), peer)
    assert found is {"tdx": Reason.CRL_FORGED, "sev-snp": Reason.SIGNATURE_INVALID}[vendor.tee]


@only_tdx
@pytest.mark.parametrize("member", MEMBERS)
def test_one_member_of_the_collateral_of_another_machine(member, vendor, enclave, demands, colour):
    """Nor does one piece among true ones."""
    machine = vendor.machine()
    other = vendor.machine(tcb_evaluation=17).collateral()["intel"]
    spliced = {"intel": {**machine.collateral()["intel"], member: other[member]}}
    with enclave(machine, collateral=spliced) as peer:
        assert refused(colour, demands(peer.port), peer) is MEMBERS[member]


@only_tdx
def test_a_revoked_machine_with_the_lists_of_another(vendor, enclave, demands, colour):
    """Its own list names it; so it shows the list of a machine that nobody revoked."""
    revoked = vendor.machine(pck_revoked=True)
    members = ("pck_crl", "pck_crl_issuer_chain", "root_ca_crl")
    clean = {name: vendor.machine().collateral()["intel"][name] for name in members}
    with (
        enclave(revoked) as honest,
        enclave(revoked, collateral={"intel": {**revoked.collateral()["intel"], **clean}}) as peer,
    ):
        assert refused(colour, demands(honest.port), honest) is Reason.CERTIFICATE_REVOKED
        assert refused(colour, demands(peer.port), peer) is Reason.CRL_FORGED


@only_snp
@pytest.mark.parametrize("signed_by", ["its own key", "the key of the other"])
def test_the_report_of_one_chip_with_the_certificate_of_another(signed_by, vendor, enclave, demands, colour):
    """AMD certified both keys; a report says which chip it is of, whoever signed it."""
    other = b"another chip".ljust(64, b"\1")
    if signed_by == "its own key":
        peer = enclave(collateral=vendor.machine(chip_id=other).collateral())
    else:
        peer = enclave(vendor.machine(leaf_chip_id=other))
    with peer:
        assert refused(colour, demands(peer.port), peer) is Reason.CHIP_MISMATCH


@pytest.mark.parametrize("how", ["others", "unbound"])
def test_two_machines_in_one_answer(how, vendor, enclave, demands, colour):
    """His own quote, and behind it another genuine one, whether or not the first one binds it."""
    with enclave(**{how: [vendor.machine().evidence(bytes(64))]}) as peer:
        assert refused(colour, demands(peer.port), peer) is Reason.EVIDENCE_UNKNOWN_TYPE


def test_the_servers_evidence_with_his_keyset(genuine_answer, enclave, demands, colour):
    """The real server's quote is of its own keyset."""
    collateral = {name: value for name, value in genuine_answer.collateral.items() if name != "operator"}
    with enclave(evidence=genuine_answer.evidence, collateral=collateral) as peer:
        assert refused(colour, demands(peer.port), peer) is Reason.REPORT_DATA_MISMATCH


def test_his_evidence_with_the_servers_keyset(genuine_answer, enclave, demands, colour):
    """The real server's keyset is of its own TLS key."""
    with enclave(keyset_raw=genuine_answer.keyset.raw) as peer:
        assert refused(colour, demands(peer.port), peer) is Reason.TLS_KEY_MISMATCH


def _with(**members):
    return lambda raw: json.dumps({**json.loads(raw), **members}).encode()


SWAPS = {
    "names": {"names": ("inference.example",), "sent_keyset": _with(names=list(NAMES))},
    "receipt key": {"sent_keyset": _with(receipt_key=base64url.encode(bytes(32)))},
    "end": {"sent_keyset": _with(not_after=int(time.time()) + 36 * 3600)},
    "settings": {"sent_keyset": _with(settings={"telemetry": "none"})},
    "another keyset of the same key": {
        "sent_keyset": lambda raw: make_keyset(
            tls_spki_sha256=base64url.decode(json.loads(raw)["tls_spki_sha256"]),
            now=int(time.time()) - 60,
            names=NAMES,
        )
    },
}


@pytest.mark.parametrize("swap", SWAPS)
def test_a_keyset_of_which_one_member_was_swapped(swap, enclave, demands, colour):
    """The quote is of the keyset as it was, whatever of it a client would like better."""
    with enclave(**SWAPS[swap]) as peer:
        assert refused(colour, demands(peer.port), peer) is Reason.REPORT_DATA_MISMATCH


@only_tdx
def test_a_real_server_of_another_name(vendor, operator, demands, colour):
    """Same operator, same code, another service: what is meant for one is not led to the other."""
    names = {"names": ("staging.example", "localhost"), "tls_dir": str(operator)}
    with vendor.server(**names) as staging, Middle(pass_on(staging.port)) as middle:
        assert refused(colour, demands(middle.port), middle) is Reason.NAME_MISMATCH
        wanted = demands(middle.port)
        of_localhost = type(wanted.origin)("localhost", middle.port)
        with quiet(), driven(colour, demands(middle.port, origin=of_localhost)) as client:
            assert send(client).status_code == 401
