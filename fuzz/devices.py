"""What devices that give evidence may answer: anything, for the host has a hand in it.

The recipes hold the bytes of the answers; the request is ours. What is handed out must be evidence about it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import struct
from pathlib import Path
from typing import Any

from blindai.attestation.aws import document
from blindai.attestation.intel import quote
from blindai.tee import certificate_table as table_layout
from blindai.tee.gramine import AttestationFiles, GramineSgx
from blindai.tee.nsm import Nsm
from blindai.tee.probe import Finding
from blindai.testing import FakeNitro, FakeSgx, FakeSnp, cbor
from blindai.testing import certificate_table as host
from fuzz.samples import NOW, REPORT_DATA
from fuzz.signing import bytes_in, members_of

RESPONSE_BYTES = 0x3000


def nsm(data: bytes) -> None:
    """A document is handed out only as the module gave it, and only if it is about our report data."""
    module = _Module(members_of(data))
    _probed(Nsm(module.opener, module.ioctl).probe())
    value = Nsm(module.opener, module.ioctl).evidence(REPORT_DATA).value
    if value not in module.answer:
        raise AssertionError("a document that the module did not give")
    parsed = document.parse(value)
    if (parsed.user_data, parsed.nonce, parsed.public_key) != (REPORT_DATA, None, None):
        raise AssertionError("a document about something else")


class _Module:
    """/dev/nsm, with answers from the input."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.answer = bytes_in(recipe, "attestation")
        self._description = bytes_in(recipe, "description")
        self._length = recipe.get("length")
        self._failure = recipe.get("failure")

    def opener(self) -> int:
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def ioctl(self, descriptor: int, request: int, argument: bytearray) -> int:
        os.fstat(descriptor)
        request_at, request_bytes, response_at, room = struct.unpack("=QQQQ", argument)
        if request != 0xC0200A00 or room > RESPONSE_BYTES:
            raise AssertionError("not the module's request")
        if type(self._failure) is int and self._failure:
            raise _failure(self._failure)
        attestation = ctypes.string_at(request_at, request_bytes) != b"\x6bDescribeNSM"
        answer = (self.answer if attestation else self._description)[:room]
        ctypes.memmove(response_at, answer, len(answer))
        said = self._length % 2**64 if type(self._length) is int else len(answer)
        struct.pack_into("=Q", argument, 24, said)
        return 0


def nsm_recipes() -> list[bytes]:
    """Return answers to be changed: documents about our data and about others, an error, a length told."""
    described = cbor.encode({"DescribeNSM": {"digest": "SHA384", "locked_pcrs": [0, 1, 2]}})
    machines = (FakeNitro(now=NOW), FakeNitro(now=NOW, indefinite=True, tagged=True))
    documents = [machine.evidence(REPORT_DATA).value for machine in machines]
    documents.append(machines[0].evidence(bytes(64)).value)
    documents.append(FakeNitro(now=NOW, nonce=b"another protocol's").evidence(REPORT_DATA).value)
    answers = [cbor.encode({"Attestation": {"document": value}}) for value in documents]
    answers.append(cbor.encode({"Error": "InternalError"}))
    recipe = {"description": described.hex(), "length": None, "failure": 0}
    recipes = [{**recipe, "attestation": answer.hex()} for answer in answers]
    recipes.append({**recipes[0], "length": len(answers[0])})
    return [json.dumps(recipe).encode() for recipe in recipes]


def gramine(data: bytes) -> None:
    """A quote is handed out only as Gramine gave it, and only if it carries our report data."""
    files = _Files(members_of(data))
    _probed(GramineSgx(files=files).probe())
    value = GramineSgx(files=files).evidence(REPORT_DATA).value
    if not files.quote.startswith(value) or files.quote[len(value) :].strip(b"\0"):
        raise AssertionError("a quote that Gramine did not give")
    if value[368:432] != REPORT_DATA or quote.parse_sgx(value).signed != value:
        raise AssertionError("a quote about something else")


class _Files(AttestationFiles):
    """/dev/attestation, with contents from the input."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.quote = bytes_in(recipe, "quote")
        self._type = bytes_in(recipe, "type")
        self._taken = recipe.get("taken")
        failures = recipe.get("failures")
        self._failures = failures if isinstance(failures, dict) else {}

    def read(self, path: Path, max_bytes: int) -> bytes:
        return (self.quote if self._opened(path) == "quote" else self._type)[:max_bytes]

    def write(self, path: Path, data: bytes) -> int:
        self._opened(path)
        return self._taken if type(self._taken) is int else len(data)

    def _opened(self, path: Path) -> str:
        failure = self._failures.get(path.name)
        if type(failure) is int and failure:
            raise _failure(failure)
        return path.name


def gramine_recipes() -> list[bytes]:
    value = FakeSgx(now=NOW).evidence(REPORT_DATA).value
    failures = {"attestation_type": 0, "user_report_data": 0, "quote": 0}
    recipe = {"type": b"dcap".hex(), "quote": value.hex(), "taken": None, "failures": failures}
    padded = {**recipe, "quote": (value + bytes(64)).hex(), "taken": 64}
    return [json.dumps(recipe).encode(), json.dumps(padded).encode()]


def certificate_table(data: bytes) -> None:
    """What is found in a table lies in it, and its members are those of collateral."""
    found = table_layout.parse(data)
    for der in vars(found).values():
        if der not in data or (der and _der_bytes(der) != len(der)):
            raise AssertionError("not one piece of the table, from its beginning to its end")
    members = found.members()
    if not set(members) <= {"leaf", "issuer_chain", "crl"}:
        raise AssertionError("not a member of collateral")


def _der_bytes(der: bytes) -> int:
    """Return the length that a DER item of less than 64 KiB says it has, with its head."""
    if len(der) < 2 or der[1] < 0x80:
        return 2 + int.from_bytes(der[1:2], "big")
    size = der[1] & 0x7F
    return 2 + size + int.from_bytes(der[2 : 2 + size], "big")


def certificate_tables() -> list[bytes]:
    """Return the tables of a host with a VCEK and of one with a VLEK, and one that is padded."""
    tables = [host.certificate_table(FakeSnp(now=NOW, leaf=leaf)) for leaf in ("vcek", "vlek")]
    return [*tables, tables[0].ljust(8192, b"\0")]


def _probed(finding: Finding) -> None:
    if not finding.seen:
        raise AssertionError("a finding that says nothing")


def _failure(seed: int) -> OSError:
    number = seed % len(errno.errorcode) + 1
    return OSError(number, os.strerror(number))
