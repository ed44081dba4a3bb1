"""The policy that a server's operator publishes: fetched to be read and compared, never adopted.

It proves nothing. Whoever runs the server chose the text, and a policy that accepted whatever it is given
would accept anything: it is bounded, cleaned and shown, and no connection is ever judged by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import httpx2

from blindai.attestation.policy import MAX_POLICY_BYTES, Policy
from blindai.attestation.verdict import Verdict
from blindai.client import http
from blindai.client.policies.demanded import one_line
from blindai.errors import PolicyError, ResponseError, ServerRefused
from blindai.transport.session import Demands
from blindai.transport.sync import AttestedTransport

PATH = "/.well-known/blindai/policy"


@dataclass(frozen=True)
class Published:
    """The text as published, and the verdict under which the connection that brought it was accepted."""

    url: str
    text: str
    verdict: Verdict

    def load(self) -> Policy:
        """Read the text, to compare it; ResponseError if this version does not understand it."""
        try:
            return Policy.from_toml(self.text)
        except PolicyError as exc:
            raise ResponseError(
                f"the policy that {self.url} publishes does not load: {one_line(str(exc))}",
                hint="--text shows it as it is; a newer blindai may understand it",
            ) from None


def fetch(demands: Demands, *, timeout_seconds: float) -> Published:
    """Attest the server as `demands` say, and then get its published policy.

    Raises ServerRefused where the operator publishes none, ResponseError for what cannot be a policy.
    """
    url = demands.origin.url
    transport = AttestedTransport(demands)
    with (
        httpx2.Client(
            transport=transport,
            timeout=http.timeout(timeout_seconds),
            trust_env=False,
            follow_redirects=False,
        ) as client,
        http.translated(demands.origin),
        client.stream("GET", url + PATH, headers={"Accept-Encoding": "identity"}) as response,
    ):
        body = _bounded(response, url)
        _check_status(response.status_code, url)
        verdict = transport.session.attested[0].verdict
    try:
        return Published(url, body.decode("utf-8"), verdict)
    except UnicodeDecodeError as exc:
        raise ResponseError(f"the policy that {url} publishes is not UTF-8") from exc


def _bounded(response: httpx2.Response, url: str) -> bytes:
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > MAX_POLICY_BYTES:
            raise ResponseError(f"the policy that {url} publishes is longer than {MAX_POLICY_BYTES} bytes")
    return bytes(body)


def _check_status(status: int, url: str) -> None:
    if status == 404:
        raise ServerRefused(
            status,
            "not-found",
            f"{url} publishes no policy",
            hint="its operator can: blindai serve --policy FILE",
        )
    if status != 200:
        raise ServerRefused(status, "", f"{url} answered with status {status} instead of its policy")
