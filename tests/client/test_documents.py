"""What the documents show as Python runs as it stands, and the reason codes are of the class that is said."""

from __future__ import annotations

import ast
import re
import time
from pathlib import Path

import pytest

import blindai
from blindai import errors
from blindai.attestation.policy import SETTINGS
from blindai.client.policies.relaxed import STATED
from blindai.errors import Reason
from blindai.testing import CapturingPeer, TlsIdentity, http_response, make_answer
from tests.repository.tree import ROOT


def blocks(document: str) -> list[str]:
    """The blocks of Python in a document."""
    text = (ROOT / "docs" / document).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(block: str) -> dict:
    names: dict = {}
    exec(compile(block, "docs/testing.md", "exec"), names)  # noqa: S102  our own document
    return names


def test_the_example_of_a_test_runs():
    """The fake is accepted by the public function, and nothing was sent to it."""
    names = run(blocks("testing.md")[0])
    assert names["verdict"].accepted


@pytest.mark.parametrize("number", range(4))
def test_the_policies_fit_the_fakes(number):
    """Each entry accepts what its fake shows by default."""
    fake, text = list(run(blocks("testing.md")[1])["policies"].items())[number]
    machine, identity = fake(), TlsIdentity.make("127.0.0.1")

    def answer(nonce):
        true = {"tls_spki_sha256": identity.spki_sha256, "names": ("127.0.0.1",), "now": int(time.time())}
        return http_response(make_answer(machine, nonce=nonce, **true))

    with CapturingPeer(answer, identities=[identity]) as peer:
        verdict = blindai.verify(
            f"127.0.0.1:{peer.port}",
            policy=blindai.Policy.from_toml(text),
            simulation=machine.root_sha256,
        )
    assert (verdict.accepted, verdict.tee) == (True, fake.tee)


def test_stated_settings_are_those_of_the_document():
    """The table of docs/policy.md and the warnings of `policy check` know the same values."""
    assert tuple(STATED) == SETTINGS
    text = (ROOT / "docs" / "policy.md").read_text("utf-8")
    for setting, values in STATED.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{setting}` |"))
        shown = re.findall(r'"([a-z-]+)"', row)
        assert shown == [word for value in values for word in ([value] if isinstance(value, str) else value)]


def classes_raised() -> set[tuple[str, str]]:
    """Each reason that the sources raise by name, with its class."""
    found = set()
    for path in Path(errors.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name(id=("EvidenceMalformed" | "EvidenceForged" | "EvidenceRejected") as kind),
                    args=[ast.Attribute(value=ast.Name(id="Reason"), attr=name), *_],
                ):
                    found.add((Reason[name].value, kind))
    return found


def test_reasons_have_the_class_that_is_documented():
    """docs/verdict.md names every reason once, under the class that is raised with it."""
    text = (ROOT / "docs" / "verdict.md").read_text("utf-8")
    documented = {}
    for line in text.splitlines():
        if row := re.match(r"\| `(Evidence\w+)` \|", line):
            documented |= dict.fromkeys(re.findall(r"`([a-z-]+)`", line), row[1])
    assert set(documented) == {str(reason) for reason in Reason}
    raised = classes_raised()
    assert len(raised) > 25
    assert raised <= set(documented.items())
