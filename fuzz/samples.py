"""Valid inputs to start from, made by the production encoders and the signing fakes.

The keys of certificates and quotes are fresh in every process: an input that matters is kept as a file, and
holds all that judging it needs.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Unpack

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from blindai.channel import challenge
from blindai.channel.bundle import Bundle, Peer
from blindai.tee.simulated import snp_layout
from blindai.testing import (
    EventLog,
    FakeNitro,
    FakeSgx,
    FakeSnp,
    FakeTdx,
    Lies,
    SnpMachine,
    TlsIdentity,
    cbor,
    make_answer,
    make_keyset,
)
from blindai.testing.answers import StaplingAttester
from blindai.wire import base64url

NOW = 1_790_000_000
NONCE = bytes(range(32))
# One key for ever: what was found in one process is about the same connection in the next.
TLS = TlsIdentity.make("localhost", now=NOW, key=ec.derive_private_key(7, ec.SECP256R1()))


@cache
def tdx() -> FakeTdx:
    return FakeTdx(now=NOW)


def texts() -> list[bytes]:
    return [base64url.encode(bytes(range(count))).encode() for count in (0, 1, 2, 3, 31, 32, 33, 200)]


def objects() -> list[bytes]:
    return [
        b"{}",
        b'{"a":[1,-2,{"b":null,"c":true}],"d":"\\u00e9\\ud83d\\ude00 \\\\","e":{"f":[[[[]]]]}}',
        *keysets(),
        *challenges(),
    ]


def keysets() -> list[bytes]:
    spki = TLS.spki_sha256
    return [
        make_keyset(tls_spki_sha256=spki, now=NOW),
        make_keyset(
            tls_spki_sha256=spki,
            now=NOW,
            names=("a.example", "127.0.0.1", "[::1]"),
            settings={"model_upload": False, "sandbox": "seccomp", "limit": 3, "formats": ("onnx", "x")},
        ),
    ]


def challenges() -> list[bytes]:
    nonces = [hashlib.sha256(b"%d" % number).digest() for number in range(9)]
    padding = [hashlib.sha256(b"p%d" % number).digest() for number in range(7)]
    tree = challenge.ChallengeTree(nonces, padding)
    alone = challenge.ChallengeTree([NONCE], [])
    proofs = [tree.proof(0), tree.proof(8), alone.proof(0)]
    return [json.dumps(proof.to_json()).encode() for proof in proofs]


def policies() -> list[bytes]:
    return [policy_text().encode(), (policy_text() + TABLES).replace("version", EXPIRES + "version").encode()]


EXPIRES = 'expires = 2027-03-01T00:00:00Z\nnames = ["a.example", "[::1]"]\n'
TABLES = f"""
[operator]
spki_sha256 = ["{"ab" * 32}"]
[require]
model_upload = false
sandbox = "seccomp"
[models]
sha256 = ["{"00" * 32}"]
"""


def policy_text() -> str:
    code = tdx().measurements
    return (
        f'version = 1\n[[accept]]\ntee = "tdx"\nmrtd = "{code.mrtd.hex()}"\n'
        f'rtmr1 = "{code.rtmr1.hex()}"\nrtmr2 = "{code.rtmr2.hex()}"\n'
    )


_IN_2055 = 2_690_000_000


def certificates() -> list[bytes]:
    authority = TlsIdentity.make("operator", now=NOW, is_authority=True)
    issued = TlsIdentity.make("localhost", "127.0.0.1", now=NOW, issuer=authority)
    # From 2050 on dates are written otherwise, with years that no calendar of Python's holds.
    later = TlsIdentity.make("operator", now=_IN_2055, is_authority=True)
    return [each.certificate.public_bytes(Encoding.DER) for each in (TLS, authority, issued, later)]


def tdx_quotes() -> list[bytes]:
    machines = (tdx(), FakeTdx(now=NOW, quote_version=5))
    return [machine.evidence(REPORT_DATA).value for machine in machines]


def sgx_quotes() -> list[bytes]:
    return [FakeSgx(now=NOW).evidence(REPORT_DATA).value]


def snp_reports() -> list[bytes]:
    """Return reports of each product and layout; unsigned, for making a vendor takes seconds."""
    machines = [SnpMachine(product=product) for product in ("Milan", "Genoa", "Turin")]
    machines += [SnpMachine(version=version) for version in (2, 5)]
    return [bytes(snp_layout.compose(machine, REPORT_DATA)) for machine in machines]


def nitro_documents() -> list[bytes]:
    machines = (FakeNitro(now=NOW), FakeNitro(now=NOW, tagged=False))
    return [machine.evidence(REPORT_DATA).value for machine in machines]


def items() -> list[bytes]:
    return [
        cbor.encode({"a": [1, -2, None, True], 3: b"\0" * 300, "nested": {"x": [[["y"]]]}}),
        cbor.encode(cbor.Tagged(18, [2**64 - 1, -(2**64), "\u00e9", {}])),
        b"\x9f\x01\xbf\x02\x03\xff\xff",
        *nitro_documents(),
    ]


def event_logs() -> list[bytes]:
    log = _log()
    return [EventLog().encode(), log.encode(), log.encode(padding=200)]


def _log() -> EventLog:
    log = EventLog()
    for rtmr, data in enumerate((b"firmware", b"kernel", b"command line", b"model")):
        log.add(rtmr, data)
    return log.add(0, b"a remark", event_type=3)


def intel_collaterals() -> list[bytes]:
    return [
        json.dumps(tdx().collateral()["intel"]).encode(),
        json.dumps(_logged().collateral()["intel"]).encode(),
    ]


def _logged() -> FakeTdx:
    log = _log()
    return FakeTdx(now=NOW, measurements=log.measured(tdx().measurements), event_log=log.encode())


@cache
def snp() -> FakeSnp:
    return FakeSnp(now=NOW)


def amd_collaterals() -> list[bytes]:
    return [json.dumps(snp().collateral()["amd"]).encode()]


def tdx_pieces() -> list[bytes]:
    return [_piece(machine) for machine in (tdx(), _logged())]


def sgx_pieces() -> list[bytes]:
    return [_piece(FakeSgx(now=NOW))]


def snp_pieces() -> list[bytes]:
    return [_piece(snp())]


def nitro_pieces() -> list[bytes]:
    return [_piece(FakeNitro(now=NOW))]


def _piece(machine: StaplingAttester) -> bytes:
    """Return evidence with its collateral as `fuzz.cases.verify` reads it."""
    evidence = machine.evidence(REPORT_DATA)
    value = {
        "type": evidence.media_type,
        "evidence": base64url.encode(evidence.value),
        "collateral": machine.collateral(),
    }
    return json.dumps(value).encode()


REPORT_DATA = hashlib.sha512(b"what every sample signs").digest()


def answers() -> list[bytes]:
    """Return answers to one client: alone, among others, and with the certificate of an operator."""
    authority = TlsIdentity.make("operator", now=NOW, is_authority=True)
    return [
        answer(),
        answer(waiting=[bytes(32), b"2" * 32]),
        answer(more_collateral={"operator": {"certificate": authority.pem}}),
    ]


def answer(**lies: Unpack[Lies]) -> bytes:
    return make_answer(tdx(), nonce=NONCE, tls_spki_sha256=TLS.spki_sha256, now=NOW, **lies)


def bundles() -> list[bytes]:
    peer = Peer.from_certificate("localhost", certificates()[0])
    return [Bundle(peer, NONCE, body).encode() for body in answers()]
