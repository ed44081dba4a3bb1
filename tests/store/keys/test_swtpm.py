"""The same commands against a TPM that we did not write."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from blindai.errors import StoreFault
from blindai.store.keys.tpm import Tpm, pcr_policy, sealed_public
from blindai.store.keys.vtpm import PCRS, VtpmKey
from blindai.testing.tpm import FakeTpm
from tests.store.keys.test_vtpm import planted, refusal

pytestmark = pytest.mark.skipif(shutil.which("swtpm") is None, reason="needs swtpm (apt-get install swtpm)")


class Machine:
    """A machine with a software TPM: `boot` resets it, `exchange` talks to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def boot(self, image: bytes | None) -> None:
        """Start the TPM anew, and extend PCR 4 with the image that it boots, if any."""
        self.off()
        (self._folder / "state").mkdir(exist_ok=True)
        # A socket's path has at most 107 bytes, and pytest's folders are long: ours goes by its number.
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._folder / 'state'}",
                 "--server", f"type=tcp,fd={theirs.fileno()}", "--flags", "not-need-init,startup-clear"],
                pass_fds=[theirs.fileno()],
            )  # fmt: skip
        self._socket = ours
        if image is not None:
            self.extend(4, image)

    def extend(self, pcr: int, digest: bytes) -> None:
        authorization = bytes.fromhex("40000009 0000 00 0000")
        body = pcr.to_bytes(4, "big") + len(authorization).to_bytes(4, "big") + authorization
        body += bytes.fromhex("00000001 000b") + digest
        answer = self.exchange(
            bytes.fromhex("8002") + (10 + len(body)).to_bytes(4, "big") + b"\0\0\1\x82" + body
        )
        assert answer[6:10] == bytes(4)

    def exchange(self, command: bytes) -> bytes:
        assert self._socket is not None
        self._socket.sendall(command)
        return self._socket.recv(4096)

    def off(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


@pytest.fixture
def machine(tmp_path: Path):
    """A machine that has not booted yet; its TPM ends with the test."""
    made = Machine(tmp_path)
    yield made
    made.off()


OURS, OTHER = b"\x07" * 32, b"\x08" * 32


def test_the_key_comes_back_after_the_same_boot_only(machine, tmp_path: Path):
    """Same image, same key; another image or one more measurement, refused by the TPM."""
    path = tmp_path / "sealed"
    machine.boot(OURS)
    key = VtpmKey(path, machine.exchange).sealing_key()
    machine.boot(OURS)
    assert VtpmKey(path, machine.exchange).sealing_key() == key
    machine.extend(12, OTHER)
    assert refusal(path, machine.exchange) is StoreFault.WRONG_KEY
    machine.boot(OTHER)
    assert refusal(path, machine.exchange) is StoreFault.WRONG_KEY
    machine.boot(OURS)
    for _ in range(10):  # each use frees its handles: a TPM has room for three
        assert VtpmKey(path, machine.exchange).sealing_key() == key


def test_another_tpm_and_a_planted_key_are_refused(machine, tmp_path: Path):
    """What another TPM sealed cannot be loaded; what other software sealed here is told by its history."""
    path = tmp_path / "sealed"
    fake = FakeTpm()
    fake.boot(pcr4=b"image")
    VtpmKey(path, fake.exchange).sealing_key()
    machine.boot(OURS)
    assert refusal(path, machine.exchange) is StoreFault.FOREIGN
    ours = sealed_public(pcr_policy(Tpm(machine.exchange).pcr_values(PCRS)))
    machine.boot(OTHER)
    planted(machine, path, ours)
    machine.boot(OURS)
    assert refusal(path, machine.exchange) is StoreFault.FOREIGN


def test_before_anything_is_measured(machine, tmp_path: Path):
    """A machine that started without measuring has an empty PCR 4, and gets no key."""
    machine.boot(None)
    assert refusal(tmp_path / "sealed", machine.exchange) is StoreFault.UNAVAILABLE
