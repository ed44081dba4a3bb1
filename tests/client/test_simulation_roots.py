"""Several simulated servers have a root each: all that are named count, and none that is not."""

from __future__ import annotations

import pytest

import blindai
from blindai.client.demands import policy_and_trust
from blindai.errors import Reason, UsageError
from blindai.testing import FakeSnp, FakeTdx
from blindai.testing.identity import TlsIdentity
from tests.attestation.scene import NOW

ROOTS = [FakeTdx(now=NOW), FakeTdx(now=NOW), FakeSnp(now=NOW)]
OTHER = "ab" * 32


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"root{index}.pem" for index in range(len(ROOTS))]
    for path, machine in zip(paths, ROOTS, strict=True):
        path.write_text(machine.root_pem)
    return paths


@pytest.fixture
def joined(files, tmp_path):
    path = tmp_path / "all.pem"
    path.write_text("".join(file.read_text() for file in files))
    return path


def trusted(simulation):
    return policy_and_trust(policy=None, certificate=None, simulation=simulation)[1]._fingerprints


ALL = {machine.root_sha256 for machine in ROOTS}


def test_every_form_names_all_of_them(files, joined):
    """A list or tuple of paths, digits or both, and a file with several certificates."""
    digits = [machine.root_sha256 for machine in ROOTS]
    for form in (files, tuple(files), digits, [files[0], *digits[1:]], [str(path) for path in files], joined):
        assert trusted(form) == ALL
    assert trusted([joined, OTHER]) == ALL | {OTHER}
    assert trusted(files[0]) == {ROOTS[0].root_sha256}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_server_with_one_of_the_roots_is_accepted(server, place):
    """Wherever it stands among them; with the others alone it is refused."""
    roots = ["00" * 32, OTHER]
    with pytest.raises(blindai.AttestationError) as refusal:
        blindai.connect(server.address, simulation=roots)
    assert refusal.value.reason is Reason.ROOT_UNKNOWN
    assert "several servers" in refusal.value.hint
    roots.insert(place, server.ready["root_sha256"])
    with blindai.connect(server.address, simulation=roots) as client:
        assert client.verdict.simulated


@pytest.mark.parametrize(
    "simulation",
    [[], (), [True], [OTHER, True], [None], None, 1, b"root.pem", [[OTHER]], {OTHER}, [OTHER, "root.pme"]],
    ids=repr,
)
def test_what_names_no_root_is_a_usage_error(simulation):
    """An empty list is not "none demanded", and True among roots is not "any of this machine"."""
    with pytest.raises(UsageError):
        trusted(simulation)


def test_a_file_without_a_certificate_or_with_half_of_one(files, joined):
    """What is broken in it is not passed over: one of the roots would be missing in silence."""
    joined.write_text(files[0].read_text() + files[1].read_text().replace("MII", "!!!", 1))
    with pytest.raises(UsageError, match="not a PEM certificate"):
        trusted(joined)
    joined.write_text("")
    with pytest.raises(UsageError, match="not a PEM certificate"):
        trusted(joined)


def test_more_than_a_root_in_the_file_is_no_way_to_production(files):
    """Certificates of another kind in the file are digits like any: they accept no hardware."""
    files[0].write_text(files[0].read_text() + TlsIdentity.make("localhost").pem)
    _, trust = policy_and_trust(policy=None, certificate=None, simulation=files[0])
    assert trust.simulated
    assert len(trust._fingerprints) == 2
