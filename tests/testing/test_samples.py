"""The sample runner: verdicts before expectations, on recordings it has seen, and on ones it has not."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import pytest

from blindai.errors import Reason
from blindai.testing import FakeNitro, FakeSgx, FakeSnp, FakeTdx
from blindai.testing.samples.__main__ import main
from blindai.testing.samples.expectation import contradiction
from blindai.testing.samples.judgement import ACCEPT, REJECT, UNSUPPORTED, Circumstances, Judgement, judge
from blindai.testing.samples.runner import run
from tests import evidence
from tests.testing import recordings
from tests.testing.recordings import COPIES, MILAN, SGX, TDX, verdict

# Serial number 0 is what makes a VCEK genuine.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

NOW = 1_790_000_000


@pytest.fixture
def copy(tmp_path):
    """Copy a genuine sample to where it may be changed."""
    return functools.partial(recordings.copied, tmp_path)


def test_every_sample_is_judged_as_expected(capsys):
    """The whole tree: no contradiction, and nothing of a covered TEE is skipped."""
    evidence.require("tdx", TDX)
    assert main([str(evidence.FOLDER)]) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert len(lines) >= 24
    assert summary.endswith("0 contradictions")
    for line in lines:
        assert ("unsupported" in line) == line.startswith(("azure/", "nvidia/")), line
    assert any("outofdate" in line and "tcb-out-of-date,tcb-advisory" in line for line in lines)


def test_json_says_the_same(capsys):
    """One object: every sample with its verdict and reason codes, and the counts."""
    evidence.require("tdx", TDX)
    assert main([str(evidence.FOLDER), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    by_name = {sample["name"]: sample for sample in answer["samples"]}
    assert by_name[f"tdx/{TDX}"]["verdict"] == ACCEPT
    assert by_name["nitro/debug-2022"]["reasons"] == ["debug-enabled"]
    assert answer["summary"]["contradictions"] == 0
    assert answer["summary"]["samples"] == len(by_name)


def test_it_runs_as_a_module():
    """As the documentation says it: `python -m`."""
    folder = evidence.require("snp", MILAN)
    command = [sys.executable, "-m", "blindai.testing.samples", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [MILAN, "accept", "1", "samples,", "1", "accept,", "0", "contradictions"]


@pytest.mark.parametrize(("tee", "name"), COPIES)
def test_a_contradiction_fails_the_run(copy, capsys, tee, name):
    """Expectations are not judged by: the opposite one is contradicted, on the line and by the exit code."""
    wrong = "accept" if name == SGX else "reject"
    folder = copy(tee, name, expect={"verdict": wrong})
    assert main([str(folder)]) == 1
    line, summary = capsys.readouterr().out.splitlines()
    assert f"CONTRADICTION: expected {wrong}" in line
    assert summary.endswith("1 contradictions")


def test_the_expectation_cannot_change_the_verdict(copy):
    """The judge is given a TEE and a time: whatever `expect` says, the line says the same."""
    wishes = ({"verdict": "accept"}, {"verdict": "reject"}, {}, None, [], {"verdict": ["accept"]})
    folder = copy("snp", "milan-debug")
    meta = json.loads((folder / "meta.json").read_text())
    for wish in wishes:
        (folder / "meta.json").write_text(json.dumps({**meta, "expect": wish}))
        assert verdict(folder) == (REJECT, Reason.DEBUG_ENABLED)
        assert bool(run(folder, root=folder).contradiction) == (wish != {"verdict": "reject"})


def test_a_folder_without_samples_is_a_mistake(tmp_path, capsys):
    """Nothing judged is not success: an empty folder, a missing one, a file."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing", "file"):
        assert main([str(tmp_path / name)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "error:" in captured.err
        assert "hint:" in captured.err


@pytest.mark.parametrize(
    "meta",
    [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"tee": "tdx"}', b'{"tee": 1, "now": 1}',
     b'{"tee": "tdx", "now": "soon"}', b'{"tee": "tdx", "now": 1e99}', b'{"tee": "tdx", "now": %d}' % 10**30],
)  # fmt: skip
def test_a_meta_that_cannot_be_read_fails_the_run(tmp_path, capsys, meta):
    """A sample that nobody could judge must not look like one that was."""
    (tmp_path / "meta.json").write_bytes(meta)
    assert main([str(tmp_path)]) == 1
    assert "unreadable" in capsys.readouterr().out


@pytest.mark.parametrize("fake", [FakeTdx, FakeSgx, FakeSnp, FakeNitro])
def test_a_simulation_is_never_accepted(tmp_path, fake):
    """Production trust and no other: byte-exact evidence under a throw-away root is of no known root."""
    made = fake(now=NOW)
    value, stapled = made.evidence(bytes(64)).value, made.collateral()
    tee = made.tee.removeprefix("sev-")
    if tee == "nitro":
        (tmp_path / "attestation_doc.cbor").write_bytes(value)
    elif tee == "snp":
        (tmp_path / "report.bin").write_bytes(value)
        (tmp_path / "vcek.pem").write_text(stapled["amd"]["leaf"])
        (tmp_path / "ask_ark.pem").write_text(stapled["amd"]["issuer_chain"])
    else:
        (tmp_path / "quote.bin").write_bytes(value)
        (tmp_path / "collateral.json").write_text(json.dumps(stapled["intel"]))
    (tmp_path / "meta.json").write_text(json.dumps({"tee": tee, "now": NOW, "expect": {"verdict": "reject"}}))
    assert verdict(tmp_path) == (REJECT, Reason.ROOT_UNKNOWN)


def test_a_tee_without_a_verifier_is_unsupported(tmp_path):
    """It contradicts nothing, whatever is expected of it."""
    judgement = judge(tmp_path, Circumstances("nvidia", NOW))
    assert judgement == Judgement(UNSUPPORTED)
    assert contradiction(judgement, {"verdict": "accept-signature"}) == ""


@pytest.mark.parametrize(
    ("judgement", "expect", "contradicts"),
    [
        (Judgement(ACCEPT), {"verdict": "accept"}, False),
        (Judgement(ACCEPT), {"verdict": "policy"}, True),
        (Judgement(ACCEPT), {"verdict": "reject-by-default"}, True),
        (Judgement(ACCEPT), {"verdict": "acept"}, True),
        (Judgement(REJECT, if_named=True), {"verdict": "policy"}, False),
        (Judgement(REJECT, if_named=True), {"verdict": "reject-by-default"}, False),
        (Judgement(REJECT, if_named=False), {"verdict": "policy"}, True),
        (Judgement(REJECT, if_named=False), {"verdict": "reject"}, False),
        (Judgement(ACCEPT, status="UpToDate"), {"verdict": "accept", "status": "UpToDate"}, False),
        (Judgement(ACCEPT, status="UpToDate"), {"verdict": "accept", "status": "OutOfDate"}, True),
        (Judgement(ACCEPT, status="UpToDate"), {"verdict": "accept", "advisories": ["A"]}, True),
        (Judgement(ACCEPT, status="UpToDate", advisories=("A",)), {"verdict": "accept"}, False),
        (
            Judgement(ACCEPT, status="UpToDate", advisories=("A",)),
            {"verdict": "accept", "advisories": 5},
            True,
        ),
    ],
)
def test_what_contradicts_an_expectation(judgement, expect, contradicts):
    """Each word of `expect`, with a judgement that fits and one that does not."""
    assert bool(contradiction(judgement, expect)) == contradicts
