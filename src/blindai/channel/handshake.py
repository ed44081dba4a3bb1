"""The attestation of one connection, without I/O: what to send, what to read, what to conclude.

After the TLS handshake and before any byte of a request:

1. send fixed bytes: GET for evidence about a fresh nonce, and Host; no credentials, no other header
2. read one answer: status 200, one Content-Length of at most 4 MiB, and nothing behind it
3. parse it: strict JSON, keyset, challenge, evidence, collateral
4. the keyset's TLS key is the key that ended this connection
5. the challenge leads from our own nonce to the root that the hardware signed
6. evidence, binding, names, dates, operator and policy hold (`attestation.verifier`)

Why this is sound: TLS 1.3's CertificateVerify proves that the holder of the attested key ends *this*
connection. Steps 1 and 2 are `fetch_answer`, a generator that the sync and the async transport both
drive; what it brings is a `Bundle`, and `conclude` judges that, received just now or read from a file.
"""

from __future__ import annotations

import hmac
from collections.abc import Generator, Mapping
from dataclasses import dataclass

import h11

from blindai.attestation import verifier
from blindai.attestation.policy import Policy
from blindai.attestation.trust import Trust
from blindai.attestation.types import ChannelFacts, Claims, Floor
from blindai.attestation.verifier import Attested
from blindai.channel import answer, challenge, operator, refusal
from blindai.channel.bundle import Bundle
from blindai.errors import EvidenceForged, EvidenceMalformed, Reason, UnreachableError

READ_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024


@dataclass(frozen=True)
class Send:
    """The driver writes `data` and answers None."""

    data: bytes


@dataclass(frozen=True)
class Receive:
    """The driver reads up to `max_bytes` and answers them; b"" when the peer has closed."""

    max_bytes: int


Exchange = Generator[Send | Receive, bytes | None, bytes]


class Busy(UnreachableError):
    """The server has no evidence at the moment.

    `retry_after_seconds` is when the same connection may be asked again, with another nonce; None if it may
    not: the server did not say when, or the connection is not at rest.
    """

    def __init__(self, retry_after_seconds: int | None = None) -> None:
        super().__init__("the server cannot give evidence at the moment", hint="try again in a few seconds")
        self.retry_after_seconds = retry_after_seconds


def fetch_answer(host: str, nonce: bytes) -> Exchange:
    """Ask for evidence about `nonce` and return the answer's body (steps 1 and 2), or raise Busy."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
    request = h11.Request(method="GET", target=answer.target(nonce), headers=[("Host", host)])
    yield Send(connection.send(request) or b"")
    connection.send(h11.EndOfMessage())
    body = bytearray()
    busy: Busy | None = None
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                received = yield Receive(READ_BYTES)
                if not received:
                    raise UnreachableError("the server closed the connection instead of giving evidence")
                connection.receive_data(received)
            elif isinstance(event, h11.Response):
                busy = _check_response(event)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise _framing("it is not one plain response")
    except h11.RemoteProtocolError as exc:
        raise (_framing("it is not HTTP") if busy is None else Busy()) from exc
    # A second response waiting behind the first would be read as the answer to a request not yet sent.
    if connection.trailing_data[0] or connection.their_state is not h11.DONE:
        raise _framing("it does not end where it says, or it ends the connection") if busy is None else Busy()
    if busy is not None:
        raise busy
    return bytes(body)


def conclude(
    bundle: Bundle, *, policy: Policy, trust: Trust, floors: Mapping[str, Floor], now: int
) -> Attested:
    """Judge what was received (steps 3 to 6), or raise AttestationError with a verdict."""
    with refusal.with_verdict(policy, now):
        return _concluded(bundle, policy, trust, floors, now)


def examine(bundle: Bundle, *, trust: Trust, now: int) -> Claims:
    """Return what verified and bound evidence says, or raise AttestationError: steps 3 to 6 without a policy.

    It never leads to an `Attested` (`verifier.examine`): nobody said that this code is the right one.
    """
    parsed, root = _of_this_connection(bundle)
    return verifier.examine(
        parsed.evidence,
        parsed.collateral,
        keyset_sha256=parsed.keyset.sha256,
        challenge_root=root,
        trust=trust,
        now=now,
    )


def _concluded(
    bundle: Bundle, policy: Policy, trust: Trust, floors: Mapping[str, Floor], now: int
) -> Attested:
    parsed, root = _of_this_connection(bundle)
    keys = parsed.keyset
    shown = operator.shown_by(parsed.collateral, bundle.peer.certificate, keyset=keys, now=now)
    return verifier.attest(  # 6
        parsed.evidence,
        parsed.collateral,
        keyset_sha256=keys.sha256,
        tls_spki_sha256=keys.tls_spki_sha256,
        challenge_root=root,
        channel=ChannelFacts(
            dialled=bundle.peer.dialled,
            names=keys.names,
            not_before=keys.not_before,
            not_after=keys.not_after,
            simulated=keys.simulated,
            settings=keys.settings,
            operator_spki_sha256=None if shown is None else shown.spki_sha256,
            operator_not_after=None if shown is None else shown.not_after,
        ),
        policy=policy,
        trust=trust,
        floors=floors,
        now=now,
    )


def _of_this_connection(bundle: Bundle) -> tuple[answer.Answer, bytes]:
    """Return the parsed answer and the root that the hardware must have signed (steps 3 to 5)."""
    parsed = answer.parse(bundle.answer)  # 3
    if not hmac.compare_digest(parsed.keyset.tls_spki_sha256, bundle.peer.tls_spki_sha256):  # 4
        raise EvidenceForged(
            Reason.TLS_KEY_MISMATCH,
            "the evidence is about another TLS key than the one that ended this connection",
            hint="something between you and the server ends TLS: a proxy, a balancer, or an attacker",
        )
    return parsed, challenge.root_of(bundle.nonce, parsed.proof)  # 5


# Request timeout, too many connections, no evidence at the moment: none of them speaks against the server.
_BUSY = (408, 429, 503)
_MAX_BUSY_BYTES = 64 * 1024
_MAX_RETRY_AFTER_DIGITS = 6


def _check_response(response: h11.Response) -> Busy | None:
    """Return what to raise once the body has been read, or None if it is to be the answer."""
    lengths = [value for name, value in response.headers if name == b"content-length"]
    plain = len(lengths) == 1 and all(name != b"transfer-encoding" for name, _ in response.headers)
    if response.status_code in _BUSY:
        seconds = _retry_after(response)
        if seconds is None or not plain or int(lengths[0]) > _MAX_BUSY_BYTES:
            raise Busy()
        return Busy(seconds)
    if response.status_code != 200:
        raise _framing(f"its status is {response.status_code}, not 200")
    if not plain:
        raise _framing("it does not have exactly one Content-Length")
    if int(lengths[0]) > answer.MAX_ANSWER_BYTES:
        raise EvidenceMalformed(
            Reason.ANSWER_TOO_LARGE, f"the attestation answer exceeds {answer.MAX_ANSWER_BYTES} bytes"
        )
    return None


def _retry_after(response: h11.Response) -> int | None:
    """Return the seconds of the one Retry-After; a date would need a clock that both agree on."""
    values = [value for name, value in response.headers if name == b"retry-after"]
    if len(values) != 1 or not values[0].isdigit() or len(values[0]) > _MAX_RETRY_AFTER_DIGITS:
        return None
    return int(values[0])


def _framing(what: str) -> EvidenceMalformed:
    return EvidenceMalformed(
        Reason.ANSWER_FRAMING,
        f"the attestation answer is malformed: {what}",
        hint="is this a BlindAI server? An ordinary web server cannot give evidence",
    )
