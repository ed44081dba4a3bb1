"""Sources of sealing keys: a TPM and a firmware that answer anything, and a sealed key that was changed."""

from __future__ import annotations

import ctypes
import json
import os
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blindai.store.keys.snp import SnpKey
from blindai.store.keys.tpm import Tpm, pcr_policy, sealed_public
from blindai.store.keys.vtpm import PCRS, VtpmKey
from blindai.testing.sev_guest import FakeSevGuest
from blindai.testing.tpm import FakeTpm
from fuzz import scratch
from fuzz.signing import bytes_in, members_of

REPORT_BYTES, KEY_BYTES = 4000, 64
_GET_REPORT = 0xC0205300


def vtpm(data: bytes) -> None:
    """An honest TPM gives the one key or none, whatever the file; a lying one never more than an error."""
    recipe = members_of(data)
    answers = recipe.get("answers")
    machine = _Tpm(answers if isinstance(answers, list) else [], stuck=recipe.get("stuck") is True)
    file = bytes_in(recipe, "file")
    try:
        key = VtpmKey(_placed(file), machine.exchange).sealing_key()
    finally:
        if not machine.lied and machine.tpm.open_handles:
            raise AssertionError("handles were left open")
    if len(key) != 32:
        raise AssertionError("not a key")
    if file and not machine.lied and key != _sealed()[1]:
        raise AssertionError("a changed file gave another key")


class _Tpm:
    """A TPM whose answers are replaced, one by one, where the input says so; a stuck one repeats the last."""

    def __init__(self, answers: list[Any], *, stuck: bool = False) -> None:
        self.tpm = _started()
        self.answered: list[bytes] = []
        self.lied = False
        self.asked = 0
        self._answers = answers
        self._stuck = stuck

    def exchange(self, command: bytes) -> bytes:
        genuine = self.tpm.exchange(command)
        if self.asked > 40:
            raise AssertionError("a key takes fewer commands")
        at = min(self.asked, len(self._answers) - 1) if self._stuck and self._answers else self.asked
        given = self._answers[at] if at < len(self._answers) else None
        self.asked += 1
        self.answered.append(genuine)
        if not isinstance(given, str):
            return genuine
        answer = bytes_in({"answer": given}, "answer")
        self.lied |= answer != genuine
        return answer


def _started() -> FakeTpm:
    tpm = FakeTpm(seed=bytes(32))
    tpm.boot(pcr0=b"firmware", pcr4=b"loader", pcr11=b"kernel")
    return tpm


@cache
def _sealed() -> tuple[bytes, bytes]:
    """Return a file that the TPM sealed, and the key in it."""
    path = _placed(b"")
    key = VtpmKey(path, _started().exchange).sealing_key()
    return path.read_bytes(), key


def vtpm_recipes() -> list[bytes]:
    """Return a sealed key with an honest TPM, and both uses with every answer, to be changed."""
    file, _ = _sealed()
    later, again = _recorded(file), _recorded(file)
    # The nonce of a session is the TPM's own choice each time; with it from here no TPM would be honest.
    honest = [answer if answer == other else None for answer, other in zip(later, again, strict=True)]
    recipes: list[tuple[bytes, Sequence[str | None]]] = [(file, []), (file, honest), (file, later)]
    recipes += [(b"", _recorded(b"")), (_hosts(), [])]
    found: list[dict[str, Any]] = [
        {"file": content.hex(), "answers": answers} for content, answers in recipes
    ]
    # The update counter, a selection of one bank with no PCR in it, and no digests.
    body = struct.pack(">IIHB3sI", 1, 1, 0x0B, 3, bytes(3), 0)
    nothing = struct.pack(">HII", 0x8001, 10 + len(body), 0) + body
    found.append({"file": file.hex(), "answers": [nothing.hex()], "stuck": True})
    return [json.dumps(recipe).encode() for recipe in found]


def _hosts() -> bytes:
    """Return a key that the host knows: sealed on the same TPM by other software, to be opened by ours."""
    values = Tpm(_started().exchange).pcr_values(PCRS)
    machine = FakeTpm(seed=bytes(32))
    machine.boot(pcr4=b"the host's loader")
    tpm = Tpm(machine.exchange)
    sealed = tpm.create(tpm.storage_key(), sealed_public(pcr_policy(values)), bytes(range(32)), PCRS)
    parts = (sealed.public, sealed.private, sealed.creation, sealed.ticket)
    return b"blindai-vtpm-v1\n" + b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def _recorded(file: bytes) -> list[str]:
    """Return what the TPM answers while it gives out the key in `file`, or makes one where there is none."""
    machine = _Tpm([])
    VtpmKey(_placed(file), machine.exchange).sealing_key()
    return [answer.hex() for answer in machine.answered]


def _placed(file: bytes) -> Path:
    path = scratch.folder() / "sealed"
    path.unlink(missing_ok=True)
    if file:
        path.touch(0o600)
        path.write_bytes(file)
    return path


def snp(data: bytes) -> None:
    """A key is taken only from an answer that is one, and asked for with all that it must depend on."""
    guest = _Guest(members_of(data))
    key = SnpKey(guest.fake.opener, guest.ioctl).sealing_key()
    report, answer = guest.answers
    status, size = struct.unpack_from("<II", report)
    if status or size != 0x4A0 or any(answer[:32]) or not any(answer[32:]):
        raise AssertionError("a key from an answer that is none")
    svn, tcb = struct.unpack_from("<I", report, 32 + 4)[0], struct.unpack_from("<Q", report, 32 + 0x1E0)[0]
    if guest.request != struct.pack("<IIQIIQ", 0, 0, 0x3F, 0, svn, tcb):
        raise AssertionError("a key that depends on less than it must")
    info = b"blindai-sealing-v1\0snp-derived"
    if key != HKDF(SHA256(), 32, salt=None, info=info).derive(answer[32:]):
        raise AssertionError("another key than the firmware's")


class _Guest:
    """/dev/sev-guest, with answers from the input where it has some."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.fake = FakeSevGuest()
        self.answers: list[bytes] = []
        self.request = b""
        self._recipe = recipe

    def ioctl(self, descriptor: int, request: int, argument: bytearray) -> int:
        version, request_at, response_at, _ = struct.unpack("<B7xQQQ", argument)
        name, size = ("report", REPORT_BYTES) if request == _GET_REPORT else ("key", KEY_BYTES)
        failure = self._recipe.get(f"{name}_error")
        if type(failure) is int and failure:
            struct.pack_into("<Q", argument, 24, failure % 2**64)
            number = failure % 132 + 1
            raise OSError(number, os.strerror(number))
        status = self.fake.ioctl(descriptor, request, argument)
        if isinstance(self._recipe.get(name), str):
            answer = bytes_in(self._recipe, name)[:size].ljust(size, b"\0")
            ctypes.memmove(response_at, answer, size)
        self.answers.append(ctypes.string_at(response_at, size))
        self.request = ctypes.string_at(request_at, 32)
        if version != 1:
            raise AssertionError("another version of the messages")
        return status


def snp_recipes() -> list[bytes]:
    guest = _Guest({})
    SnpKey(guest.fake.opener, guest.ioctl).sealing_key()
    report, key = guest.answers
    recipe = {"report": report[: 32 + 0x4A0].hex(), "key": key.hex(), "report_error": 0, "key_error": 0}
    return [json.dumps(recipe).encode(), json.dumps({**recipe, "key": None}).encode()]
