"""Whatever an answer holds, judging it ends in `Attested` or in our own error: nothing else ever escapes.

The same few hundred each time; `make fuzz` goes on from there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blindai.attestation.trust import StapledSimulationTrust
from blindai.errors import AttestationError
from blindai.wire import base64url
from tests.attestation.scene import TLS, Client, answer_of
from tests.attestation.vendor_tricks import der_of, pem_of

# Flips make serial numbers negative and names too long, which `cryptography` mentions.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),
    pytest.mark.filterwarnings("ignore:Attribute's length must be"),
]

FUZZ = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----\n")
ODD = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**70, "", "0", "A" * 70000, "\ud800", "\0", "{}", "[]",
    [], {}, [[]], [None], {"": None}, [[[[[[[[]]]]]]]],
    "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
]  # fmt: skip


def judge(tdx, body):
    """Let clients of both kinds of simulation trust judge `body`; a proof may only be about our key."""
    for client in (Client(), Client(trust=StapledSimulationTrust())):
        try:
            attested = client.conclude(body, tdx)
        except AttestationError as error:
            str(error.verdict)
        else:
            assert attested.verdict.accepted
            assert attested.tls_spki_sha256 == TLS.spki_sha256


@pytest.fixture(scope="module")
def good(tdx):
    return answer_of(tdx, waiting=[bytes(32), b"2" * 32])


def flipped(data, raw: bytes) -> bytes:
    """Change, insert or drop a few bytes."""
    mutated = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(mutated) - 1, 0)))
        match data.draw(st.sampled_from("cidt")):
            case "c":
                mutated[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
            case "i":
                mutated[at:at] = data.draw(st.binary(max_size=4))
            case "d":
                del mutated[at : at + data.draw(st.integers(1, 40))]
            case "t":
                del mutated[at:]
    return bytes(mutated)


@FUZZ
@given(data=st.data())
def test_mutated_text(tdx, good, data):
    """Bytes of the answer changed, inserted, dropped, cut."""
    judge(tdx, flipped(data, good))


def places(value: Any, put: Callable[[Any], None]) -> list[tuple[Any, Callable[[Any], None]]]:
    """Return every value inside a JSON value, with a function that replaces it."""
    found = [(value, put)]
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            found += places(value[key], lambda new, key=key: value.__setitem__(key, new))
    return found


@FUZZ
@given(data=st.data())
def test_mutated_structure(tdx, good, data):
    """Members exchanged for odd values and for each other, dropped and added; keyset and signed texts too."""
    value = json.loads(good)
    value["keyset"] = json.loads(base64url.decode(value["keyset"]))
    intel = value["collateral"]["intel"]
    for name in ("tcb_info", "qe_identity"):
        intel[name] = json.loads(intel[name])
    for _ in range(data.draw(st.integers(1, 2))):
        everything = places(value, lambda new: None)
        # By number: what is drawn is written out in full each time, which takes longer than judging it.
        _, put = everything[data.draw(st.integers(0, len(everything) - 1))]
        other, _ = everything[data.draw(st.integers(0, len(everything) - 1))]
        odd = [*ODD, json.loads(json.dumps(other))]
        put(odd[data.draw(st.integers(0, len(odd) - 1))])
    intel = intel_of(value)
    for name in ("tcb_info", "qe_identity"):
        if isinstance(intel.get(name), dict):
            intel[name] = json.dumps(intel[name], separators=(",", ":"))
    if isinstance(value, dict) and isinstance(value.get("keyset"), dict):
        text = json.dumps(value["keyset"], separators=(",", ":"))
        value["keyset"] = base64url.encode(text.encode())
    judge(tdx, json.dumps(value).encode())


def intel_of(value: Any) -> dict[str, Any]:
    collateral = value.get("collateral") if isinstance(value, dict) else None
    intel = collateral.get("intel") if isinstance(collateral, dict) else None
    return intel if isinstance(intel, dict) else {}


@FUZZ
@given(data=st.data())
def test_mutated_certificates_and_crls(tdx, good, data):
    """DER inside the stapled chains and lists, and an operator that is one of those certificates."""
    value = json.loads(good)
    intel = value["collateral"]["intel"]
    kind = data.draw(st.sampled_from(["chain", "crl", "root", "operator"]))
    if kind == "crl":
        name = data.draw(st.sampled_from(["pck_crl", "root_ca_crl"]))
        intel[name] = flipped(data, bytes.fromhex(intel[name])).hex()
    elif kind == "chain":
        name = data.draw(st.sampled_from([name for name in intel if name.endswith("chain")]))
        certificate = data.draw(st.sampled_from(CERTIFICATE.findall(intel[name])))
        intel[name] = intel[name].replace(certificate, pem_of(flipped(data, der_of(certificate))))
    elif kind == "root":
        everywhere_another_root(tdx, value, pem_of(flipped(data, der_of(tdx.root_pem))))
    else:
        value["collateral"]["operator"] = {"certificate": pem_of(flipped(data, der_of(tdx.root_pem)))}
    judge(tdx, json.dumps(value).encode())


def everywhere_another_root(tdx, value, root):
    """Exchange the root in every chain, that of the quote too, so that all agree on it."""
    intel = value["collateral"]["intel"]
    for name in intel:
        intel[name] = intel[name].replace(tdx.root_pem, root)
    quote = base64url.decode(value["evidence"][0][1])
    before, _, behind = quote.partition(tdx.root_pem.encode())
    grown = len(root) - len(tdx.root_pem)
    for at in (632, 636 + 128 + 2, 636 + 128 + 6 + 384 + 64 + 2 + 32 + 2):
        size = int.from_bytes(before[at : at + 4], "little") + grown
        before = before[:at] + size.to_bytes(4, "little") + before[at + 4 :]
    value["evidence"][0][1] = base64url.encode(before + root.encode() + behind)


@FUZZ
@given(data=st.data())
def test_mutated_quotes(tdx, good, data):
    """Bytes of the quote changed, inserted, dropped, cut; no panic of the library beneath, either."""
    value = json.loads(good)
    quote = flipped(data, base64url.decode(value["evidence"][0][1]))
    value["evidence"][0][1] = base64url.encode(quote)
    judge(tdx, json.dumps(value).encode())
