from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from blindai.errors import StoreError, StoreFault, UsageError
from blindai.store.keys.tpm import Sealed, Tpm, pcr_policy, sealed_public
from blindai.store.keys.tpm_bytes import sized
from blindai.store.keys.vtpm import PCRS, VtpmKey
from blindai.testing.tpm import FakeTpm

BOOT = {"pcr0": b"firmware", "pcr4": b"image", "pcr11": b"parts of the image"}


@pytest.fixture
def tpm():
    """A machine that booted once."""
    fake = FakeTpm()
    fake.boot(**BOOT)
    yield fake
    assert fake.open_handles == 0, "a handle was left in the TPM"


def refusal(path: Path, exchange) -> StoreFault:
    with pytest.raises(StoreError) as caught:
        VtpmKey(path, exchange).sealing_key()
    return caught.value.fault


def test_the_same_boot_gets_the_same_key(tpm, tmp_path: Path):
    """The key comes back in this boot and after the next one of the same software; no file holds it."""
    path = tmp_path / "sealed"
    key = VtpmKey(path, tpm.exchange).sealing_key()
    assert len(key) == 32
    assert VtpmKey(path, tpm.exchange).sealing_key() == key
    tpm.boot(**BOOT)
    assert VtpmKey(path, tpm.exchange).sealing_key() == key
    assert key not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("pcr", PCRS)
def test_one_extended_pcr_refuses(tpm, tmp_path: Path, pcr):
    """Whatever more or else was booted, the TPM itself keeps the key back; the file stays as it is."""
    path = tmp_path / "sealed"
    key = VtpmKey(path, tpm.exchange).sealing_key()
    kept = path.read_bytes()
    tpm.extend(pcr, b"something else")
    assert refusal(path, tpm.exchange) is StoreFault.WRONG_KEY
    assert tpm.commands.count(0x14A) == 1  # the TPM refused before we looked at the history
    assert path.read_bytes() == kept
    tpm.boot(**BOOT)
    assert VtpmKey(path, tpm.exchange).sealing_key() == key


def test_another_tpm_refuses(tpm, tmp_path: Path):
    """The same software on another machine cannot load it."""
    VtpmKey(tmp_path / "sealed", tpm.exchange).sealing_key()
    other = FakeTpm()
    other.boot(**BOOT)
    assert refusal(tmp_path / "sealed", other.exchange) is StoreFault.FOREIGN


def test_a_machine_that_measures_nothing_is_refused(tmp_path: Path):
    """Without measured boot all PCRs are zero, and any software could have the key."""
    assert refusal(tmp_path / "sealed", FakeTpm().exchange) is StoreFault.UNAVAILABLE
    assert not (tmp_path / "sealed").exists()


def planted(
    tpm: FakeTpm, path: Path, public: bytes, secret: bytes = b"a key that the host knows here!!"
) -> None:
    """Seal what the host knows, with whatever it has booted now, and put it in the file's place."""
    commands = Tpm(tpm.exchange)
    parent = commands.storage_key()
    _write(path, commands.create(parent, public, secret, PCRS))
    commands.flush(parent)


def _write(path: Path, sealed: Sealed) -> None:
    path.write_bytes(
        b"blindai-vtpm-v1\n"
        + b"".join(map(sized, (sealed.public, sealed.private, sealed.creation, sealed.ticket)))
    )
    path.chmod(0o600)


def _measured(tpm: FakeTpm) -> dict[int, bytes]:
    return {pcr: tpm.pcrs[pcr] for pcr in PCRS}


def test_a_key_that_the_host_planted_is_refused(tpm, tmp_path: Path):
    """The host boots its own system on this TPM and seals a key it knows under the policy of our PCRs.

    The TPM would unseal it for us; only its creation data tell that other software made it.
    """
    ours = sealed_public(pcr_policy(_measured(tpm)))
    tpm.boot(pcr4=b"the host's own system")
    planted(tpm, tmp_path / "sealed", ours)
    tpm.boot(**BOOT)
    assert refusal(tmp_path / "sealed", tpm.exchange) is StoreFault.FOREIGN


def test_forged_creation_data_are_refused(tpm, tmp_path: Path):
    """As above, with creation data rewritten to say that our software made it: the ticket does not fit."""
    path = tmp_path / "sealed"
    ours = sealed_public(pcr_policy(_measured(tpm)))
    VtpmKey(path, tpm.exchange).sealing_key()
    honest = path.read_bytes()
    tpm.boot(pcr4=b"the host's own system")
    planted(tpm, path, ours)
    parts = _parts(path.read_bytes())
    parts[2:] = _parts(honest)[2:]  # the honest key's creation data and ticket
    path.write_bytes(b"blindai-vtpm-v1\n" + b"".join(map(sized, parts)))
    tpm.boot(**BOOT)
    assert refusal(path, tpm.exchange) is StoreFault.FOREIGN


def test_a_lax_policy_is_refused(tpm, tmp_path: Path):
    """A key made here but open to any password, or under other PCRs, is not what we made."""
    ours = sealed_public(pcr_policy(_measured(tpm)))
    with_password = ours[:4] + (int.from_bytes(ours[4:8], "big") | 1 << 6).to_bytes(4, "big") + ours[8:]
    planted(tpm, tmp_path / "sealed", with_password)
    assert refusal(tmp_path / "sealed", tpm.exchange) is StoreFault.FOREIGN
    fewer = pcr_policy({4: tpm.pcrs[4]})
    planted(tpm, tmp_path / "fewer", sealed_public(fewer))
    assert refusal(tmp_path / "fewer", tpm.exchange) is StoreFault.WRONG_KEY


def test_a_secret_of_another_size_is_refused(tpm, tmp_path: Path):
    """Sealed here and now, but no key."""
    planted(tpm, tmp_path / "sealed", sealed_public(pcr_policy(_measured(tpm))), b"short")
    assert refusal(tmp_path / "sealed", tpm.exchange) is StoreFault.FOREIGN


def _parts(data: bytes) -> list[bytes]:
    data, parts = data.removeprefix(b"blindai-vtpm-v1\n"), []
    while data:
        size = int.from_bytes(data[:2], "big")
        parts.append(data[2 : 2 + size])
        data = data[2 + size :]
    return parts


def test_every_changed_byte_of_the_file_is_refused(tpm, tmp_path: Path):
    """No byte of the file can be changed, cut or added without a refusal of ours."""
    path = tmp_path / "sealed"
    VtpmKey(path, tpm.exchange).sealing_key()
    honest = path.read_bytes()
    changed = [honest[:at] + bytes([honest[at] ^ 1]) + honest[at + 1 :] for at in range(len(honest))]
    cut = [honest[:size] for size in range(0, len(honest), 7)]
    for data in (*changed, *cut, honest + b"\0", honest * 20):
        path.write_bytes(data)
        assert refusal(path, tpm.exchange) in (StoreFault.MALFORMED, StoreFault.FOREIGN)


def test_every_bad_answer_is_our_own_error(tpm, tmp_path: Path):
    """Each answer in turn is cut, extended, or changed in any byte: our own error, or a key."""
    path = tmp_path / "sealed"
    key = VtpmKey(path, tpm.exchange).sealing_key()
    answers: list[bytes] = []
    VtpmKey(path, lambda command: answers.append(tpm.exchange(command)) or answers[-1]).sealing_key()
    for number, answer in enumerate(answers):
        cut = [answer[:size] for size in range(len(answer))]
        flipped = [
            answer[:at] + bytes([answer[at] ^ bit]) + answer[at + 1 :]
            for at in range(len(answer))
            for bit in (1, 0x80)
        ]
        for bad in (*cut, *flipped, answer + b"\0"):
            tpm.boot(**BOOT)
            _expect_own_error_or(key, path, _replacing(tpm, number, bad))
    tpm.boot(**BOOT)


def _replacing(tpm: FakeTpm, number: int, bad: bytes):
    count = iter(range(100))
    return lambda command: bad if next(count) == number else tpm.exchange(command)


def _expect_own_error_or(key: bytes, path: Path, exchange) -> None:
    try:
        got = VtpmKey(path, exchange).sealing_key()
    except StoreError:
        return
    # The TPM's word is the root of it all: a byte of the key itself, changed by the TPM, is another key.
    assert len(got) == 32
    assert sum(a != b for a, b in zip(got, key, strict=True)) <= 1


def test_bad_answers_at_creation_are_our_own_errors(tpm, tmp_path: Path):
    """The answer of Create is read as strictly, and a file that was written from a bad one opens nothing."""
    answers: list[bytes] = []
    VtpmKey(
        tmp_path / "good", lambda command: answers.append(tpm.exchange(command)) or answers[-1]
    ).sealing_key()
    number = tpm.commands.index(0x153)
    for at in range(0, len(answers[number]), 3):
        for bad in (answers[number][:at], answers[number][:at] + b"\xff" + answers[number][at + 1 :]):
            tpm.boot(**BOOT)
            path = tmp_path / f"{at} {len(bad)}"
            try:
                VtpmKey(path, _replacing(tpm, number, bad)).sealing_key()
            except StoreError:
                continue
            assert VtpmKey(path, tpm.exchange).sealing_key()  # a byte that says nothing
    tpm.boot(**BOOT)


def test_a_device_that_fails(tmp_path: Path):
    """An error of the driver is ours."""

    def broken(_command: bytes) -> bytes:
        raise OSError(5, "Input/output error")

    assert refusal(tmp_path / "sealed", broken) is StoreFault.UNAVAILABLE


def test_a_file_open_to_others_is_refused(tpm, tmp_path: Path):
    """Nothing in it is secret, but who can write it can take the key away."""
    path = tmp_path / "sealed"
    VtpmKey(path, tpm.exchange).sealing_key()
    path.chmod(0o666)
    with pytest.raises(UsageError):
        VtpmKey(path, tpm.exchange).sealing_key()


def test_the_policy_digest_is_the_specifications():
    """PolicyPCR: H(old ‖ command code ‖ selection ‖ H(values)), written out by hand for one PCR."""
    value = hashlib.sha256(b"value").digest()
    selection = bytes.fromhex("00000001 000b 03 100000")
    step = bytes.fromhex("0000017f") + selection + hashlib.sha256(value).digest()
    assert pcr_policy({4: value}) == hashlib.sha256(bytes(32) + step).digest()


@pytest.mark.skipif(os.path.exists("/dev/tpmrm0"), reason="this machine has a TPM")  # noqa: PTH110
def test_without_a_tpm(tmp_path: Path):
    """The error names the device."""
    with pytest.raises(StoreError, match="/dev/tpmrm0 cannot be opened"):
        VtpmKey(tmp_path / "sealed").sealing_key()
