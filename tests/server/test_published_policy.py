"""The policy that an operator publishes: the exact text, or a clear no; never one that does not load."""

from __future__ import annotations

import subprocess

import pytest

from blindai.attestation.policy import MAX_POLICY_BYTES
from blindai.server.routes.service import POLICY_PATH
from tests.serving import RunningServer, running_server, server_command, server_environment

POLICY = """\
# Ünser Kommentar, with a tab\tand two line ends:\r\n
version = 1
[[accept]]
tee = "tdx"
"""
POLICY += "".join(f'{name} = "{"ab" * 48}"\n' for name in ("mrtd", "rtmr1", "rtmr2"))


def test_the_text_is_published_byte_for_byte(tmp_path):
    """Comments, line ends and encoding arrive as they are in the file, whatever happens to the file later."""
    path = tmp_path / "policy.toml"
    path.write_bytes(POLICY.encode())
    with running_server(published_policy=str(path)) as server:
        path.write_text("version = 2")
        reply = server.request("GET", POLICY_PATH)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/toml")
        assert reply.body == POLICY.encode()
        assert server.request("POST", POLICY_PATH, b"version = 2").status == 405


def test_nothing_is_published_unless_it_is_asked_for(server: RunningServer):
    """Without a policy to publish the answer is 404, and says that it is the operator's choice."""
    reply = server.request("GET", POLICY_PATH)
    assert (reply.status, reply.code) == (404, "not-found")
    assert "publishes no policy" in reply.json()["error"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (POLICY.replace("rtmr2", "rtmr_2").encode(), "rtmr2"),
        (b"version = 1\n", "accept"),
        (b"\xff\xfe", "UTF-8"),
        (b"#" * (MAX_POLICY_BYTES + 1), "longer"),
        (None, "cannot be read"),
    ],
)
def test_what_does_not_load_keeps_the_server_from_starting(tmp_path, content, said):
    """A typo, no text, no UTF-8, too much, or no file: the operator hears of it before any client."""
    path = tmp_path / "policy.toml"
    if content is not None:
        path.write_bytes(content)
    result = subprocess.run(
        server_command(published_policy=str(path)),
        capture_output=True,
        text=True,
        timeout=60,
        env=server_environment(),
        check=False,
    )
    assert result.returncode != 0
    assert said in result.stderr
    assert "Traceback" not in result.stderr
