"""The cache on disk: private, whole, and never believed more than the network."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust
from blindai.errors import EvidenceForged
from blindai.tee.simulated.platform import Window
from blindai.testing import FakeTdx
from blindai.transport.collateral import cache as cache_module
from blindai.transport.collateral.cache import Cache, default_folder
from blindai.transport.collateral.piece import Answer
from tests.serving import server_environment
from tests.transport.collateral import services

NAME = hashlib.sha256(b"a request").hexdigest()
NOW = int(time.time())
ANSWER = Answer(b"body", {"tcb-info-issuer-chain": "chain"}, NOW)


def files(operator):
    return sorted(operator.folder.iterdir())


def test_what_is_kept_is_not_asked_for_again(platform, pcs, operator):
    """The second fetch reaches nobody and gives the same."""
    first = operator.intel(pcs, platform)
    pcs.asked.clear()
    assert operator.intel(pcs, platform) == first
    assert pcs.asked == []


def test_a_refresh_asks_and_keeps(platform, pcs, operator):
    """What changed before its end, as at a TCB recovery, can be had."""
    operator.intel(pcs, platform)
    pcs.asked.clear()
    operator.intel(pcs, platform, refresh=True)
    assert len(pcs.asked) == 4
    operator.intel(pcs, platform)
    assert len(pcs.asked) == 4


def test_without_a_cache_nothing_is_written(platform, pcs, tmp_path, monkeypatch):
    """No folder, no file."""
    monkeypatch.chdir(tmp_path)
    services.Operator(None).intel(pcs, platform)
    assert list(tmp_path.iterdir()) == []


def test_folders_and_files_are_private(platform, pcs, operator):
    """0700 and 0600, whatever the umask; names are digests."""
    before = os.umask(0)
    try:
        operator.intel(pcs, platform)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in files(operator)} == {0o600}
    assert {folder.stat().st_mode & 0o777 for folder in (operator.folder, operator.folder.parent)} == {0o700}
    assert all(re.fullmatch("[0-9a-f]{64}", path.name) for path in files(operator))


def test_what_has_ended_is_fetched_anew(platform, operator, monkeypatch):
    """A signed text is kept until its nextUpdate, a CRL until its own."""
    short = FakeTdx(tcb_info=Window(-60, 600))
    with services.running(services.pcs_routes(short.collateral()["intel"], platform)) as pcs:
        operator.intel(pcs, platform)
        pcs.asked.clear()
        after = _end(short) + 1
        monkeypatch.setattr(time, "time", lambda: after)
        operator.intel(pcs, platform)
    assert len(pcs.asked) == 1
    assert "/tcb?" in pcs.paths[0]
    # And again it had ended already, which is said and not kept.
    assert any("the TCB info ended" in text for text in operator.heard)


def _end(tdx):
    text = json.loads(tdx.collateral()["intel"]["tcb_info"])["nextUpdate"]
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone


def _forge(path, **changes):
    """Write a file whose digest is right and whose content is not."""
    content = {**json.loads(path.read_bytes())["content"], **changes}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_bytes(json.dumps({"version": 1, "sha256": digest, "content": content}).encode())


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "flipped": _flip,
    "huge": lambda path: path.write_bytes(b"x" * (cache_module.MAX_FILE_BYTES + 10)),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "link": lambda path: (path.rename(path.with_suffix(".x")), path.symlink_to(path.with_suffix(".x"))),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "forged body": lambda path: _forge(path, body=base64.b64encode(b"evil").decode()),
    "forged base64": lambda path: _forge(path, body="!"),
    "forged headers": lambda path: _forge(path, headers={"tcb-info-issuer-chain": 7}),
    "no headers": lambda path: _forge(path, headers=[]),
    "from the future": lambda path: _forge(path, fetched=NOW + 10**6),
    "no date": lambda path: _forge(path, fetched="now"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_fetched_anew_aloud(tdx, platform, pcs, operator, damage):
    """Rot, a crash or a hand: the result is as fetched, and the damage is said."""
    operator.intel(pcs, platform)
    for path in files(operator):
        damage(path)
    operator.heard.clear()
    assert operator.intel(pcs, platform) == tdx.collateral()["intel"]
    assert sum("damaged" in text for text in operator.heard) == 4


def test_a_forged_file_is_the_verifiers_to_refuse(tdx, platform, pcs, operator):
    """Well-formed lies pass, as they do from the network: the verifier judges whatever it is handed."""
    operator.intel(pcs, platform)
    stranger = FakeTdx().collateral()["intel"]
    reply = services.signed(stranger, "tcbInfo", "tcb_info", "tcb-info-issuer-chain")
    (path,) = [path for path in files(operator) if b'"tcb-info-issuer-chain"' in path.read_bytes()]
    _forge(path, body=base64.b64encode(reply.body).decode(), headers=dict(reply.headers))
    forged = operator.intel(pcs, platform)
    assert forged["tcb_info"] == stranger["tcb_info"]
    trust = SimulationTrust([tdx.root_sha256])
    with pytest.raises(EvidenceForged):
        vendors.verify(tdx.evidence(bytes(64)), {"intel": forged}, trust=trust, now=NOW)


@pytest.mark.parametrize("kind", ["a file", "no place"])
def test_a_cache_that_cannot_be_used_fails_nothing(tdx, platform, pcs, tmp_path, kind):
    """The fetch succeeds; the trouble is said."""
    folder = tmp_path / "cache"
    folder.write_text("in the way")
    operator = services.Operator(folder if kind == "a file" else Path("/proc/blindai"))
    assert operator.intel(pcs, platform) == tdx.collateral()["intel"]
    assert any("the cache cannot be" in text for text in operator.heard)


def test_a_write_that_fails_leaves_nothing(tmp_path):
    """No half-written file stays where the next reader looks, nor beside it."""
    heard = []
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "inside").write_text("")
    Cache(tmp_path, say=heard.append).write(NAME, ANSWER)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert len(heard) == 1


def test_an_answer_comes_back_as_it_was(tmp_path):
    """Body, headers and date."""
    store = Cache(tmp_path, say=pytest.fail)
    assert store.read(NAME, now=NOW) is None
    store.write(NAME, ANSWER)
    assert store.read(NAME, now=NOW) == ANSWER


def test_the_default_is_the_users_cache_folder(monkeypatch, tmp_path):
    """XDG_CACHE_HOME counts if it is absolute, as its specification says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "blindai" / "collateral"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert default_folder() == tmp_path / "home" / ".cache" / "blindai" / "collateral"


def test_two_processes_share_a_cache(tdx, platform, pcs, operator):
    """Several commands at once each give the whole collateral and leave a whole cache."""
    command = [
        *(sys.executable, "-W", "error", "-m", "blindai", "collateral", "fetch", "intel"),
        *("--fmspc", platform.fmspc, "--ca", platform.ca, "--tee", platform.tee, "--refresh"),
        *(
            "--url",
            pcs.url,
            "--root-crl-url",
            f"{pcs.url}/IntelSGXRootCA.der",
            "--cache",
            str(operator.folder),
        ),
    ]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=server_environment()
                )
            )
            for _ in range(2)
        ]
        results = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    for out, err, code in results:
        assert (code, json.loads(out)) == (0, {"intel": tdx.collateral()["intel"]}), err
    assert len(files(operator)) == 4
    pcs.asked.clear()
    operator.intel(pcs, platform)
    assert pcs.asked == []
    assert not any("damaged" in text for text in operator.heard)


def test_what_a_killed_process_left_is_removed(tmp_path):
    """An unfinished file of long ago goes; one of now may be another process's, and others' files stay."""
    old, new, foreign = (tmp_path / name for name in (f".{NAME}.aaaa", f".{NAME}.bbbb", ".keep.this"))
    for path in (old, new, foreign):
        path.write_bytes(b"half")
    for path in (old, foreign):
        os.utime(path, (NOW - 7200, NOW - 7200))
    Cache(tmp_path, say=lambda _: None).write(NAME, ANSWER)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([new.name, foreign.name, NAME])
