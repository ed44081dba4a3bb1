"""Clients that carry secrets, and what must be left of them with the man in the middle: nothing."""

from __future__ import annotations

import re
import urllib.request
from collections import Counter

import pytest

from blindai.errors import AttestationError
from tests.transport.dialling import quiet
from tests.transport.driving import driven

SECRET = b"CANARY"
REQUEST = {"headers": {"Authorization": "Bearer CANARY-key"}, "content": b"CANARY-body"}


def send(client):
    """A request whose line, headers and body all hold the secret."""
    return client.request("POST", "/v2/models/CANARY/infer", **REQUEST)


def refused(colour, demands, *readers, **options):
    """Return why a client refuses whoever answers, having seen that nobody read a byte of its request."""
    with quiet(), driven(colour, demands, **options) as client, pytest.raises(AttestationError) as refusal:
        send(client)
    nothing_read(*readers)
    return refusal.value.reason


def assert_refused(client, reason):
    """Assert that a client which is in the middle of its work sends no more, and why."""
    with pytest.raises(AttestationError) as refusal:
        send(client)
    assert refusal.value.reason is reason, refusal.value


def nothing_read(*readers):
    """Assert that each man in the middle, or his server, read attestation requests and nothing else."""
    for reader in readers:
        reader.wait()
        assert reader.connections
        assert reader.request_bytes == b""
        assert SECRET not in getattr(reader, "wire", b"")


def served(server):
    """Return how often a real server answered by route: what it read of anybody's requests."""
    with urllib.request.urlopen(f"http://{server.ready['metrics']}/metrics", timeout=10) as response:
        text = response.read().decode()
    counted = re.findall(r'^blindai_requests_total\{.*route="([^"]*)".*\} ([0-9.]+)$', text, re.MULTILINE)
    total: Counter[str] = Counter()
    for route, count in counted:  # once for each status
        total[route] += int(float(count))
    return total
