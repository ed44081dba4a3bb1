"""Numbers that name one machine for life are shown nowhere: they would tell where somebody's data were."""

from __future__ import annotations

import base64
import dataclasses
import json
import traceback
from collections.abc import Iterator

import pytest

from blindai.attestation import vendors
from blindai.attestation.explanations import explain
from blindai.attestation.types import Floor
from blindai.attestation.verdict import Verdict
from blindai.client.floors import FileFloors
from blindai.errors import AttestationError
from tests import evidence
from tests.attestation.lies import LIES
from tests.attestation.scene import FAKES, Client, attest, claims_of, machine_of, refusal

# No other field of a report, and no random number, holds these bytes.
CHIP_ID = bytes(range(0x41, 0x81))
REPORT_ID = bytes(range(0xA0, 0xC0))
REPORT_ID_MA = bytes(range(0xC0, 0xE0))
MODULE_ID = b"i-0123456789abcdef0-enc0fedcba987654321"
# Those of every simulated PCK certificate.
PPID = b"SIMULATION-PPID\0"
PLATFORM_INSTANCE_ID = b"SIMULATION-HOST\0"

INTEL = (PPID, PLATFORM_INSTANCE_ID)
AMD = (CHIP_ID, REPORT_ID, REPORT_ID_MA)
IDS = {"tdx": INTEL, "sgx": INTEL, "sev-snp": AMD, "nitro": (MODULE_ID,)}
KNOBS = {
    "tdx": {},
    "sgx": {},
    "sev-snp": {"chip_id": CHIP_ID, "report_id": REPORT_ID, "report_id_ma": REPORT_ID_MA},
    "nitro": {"module_id": MODULE_ID.decode()},
}
# A part of an id tells as much as the whole of it; those of Intel's fakes begin as all that is simulated.
PART_BYTES = 8


def spellings(secret: bytes) -> Iterator[str]:
    """Yield how a part of these bytes would look in a text, in whatever way it came there."""
    for part in {secret[-PART_BYTES:], *([] if secret in INTEL else [secret[:PART_BYTES]])}:
        digits = part.hex()
        yield from (digits, digits.upper(), part.hex(":"), part.hex(" "))
        yield repr(part)[2:-1]
        yield repr(bytearray(part))[12:-2]
        yield str(list(part))[1:-1]
        yield part.decode("latin-1")
        yield str(int.from_bytes(part, "big"))
        yield str(int.from_bytes(part, "little"))
    for start in range(3):  # base64 spells bytes by where they stand among three
        whole = secret[-9 - start : len(secret) - start]
        yield base64.b64encode(whole).decode()[:-1]
        yield base64.urlsafe_b64encode(whole).decode()[:-1]
    yield str(int.from_bytes(secret, "big"))
    yield str(int.from_bytes(secret, "little"))


def shown_by_verdict(verdict: Verdict) -> str:
    return "\n".join([str(verdict), repr(verdict), json.dumps(verdict.to_json()), explain(verdict)])


def shown_by_error(error: AttestationError) -> str:
    """Return all that an error says: with its notes, its causes, what it holds, and its verdict."""
    parts = [str(error), repr(vars(error)), *traceback.format_exception(error)]
    link: BaseException | None = error
    while link is not None:
        parts += [repr(link), repr(link.args)]
        link = link.__cause__ or link.__context__
    return "\n".join([*parts, shown_by_verdict(error.verdict)])


def assert_hidden(text: str, tee: str) -> None:
    """Assert that no id of this TEE's machine is in a text."""
    for secret in IDS[tee]:
        for spelling in spellings(secret):
            assert spelling not in text, f"{secret!r} is shown as {spelling!r}"


@pytest.mark.parametrize("tee", FAKES)
def test_the_ids_are_in_what_is_verified(tee):
    """Else this file proves nothing: the evidence, or a certificate in it, carries each of them."""
    machine = machine_of(tee, **KNOBS[tee])
    stapled = json.dumps(machine.collateral())
    value = machine.evidence(bytes(64)).value
    carried = value if tee in ("sev-snp", "nitro") else certificates_in(value)
    for secret in IDS[tee]:
        assert secret in carried
        assert stapled  # what is stapled is judged with it


def certificates_in(quote: bytes) -> bytes:
    pem = quote[quote.index(b"-----BEGIN") : quote.rindex(b"-----END")]
    return b"".join(
        base64.b64decode(block.partition(b"-----END")[0])
        for block in pem.split(b"-----BEGIN CERTIFICATE-----")
    )


@pytest.mark.parametrize("tee", FAKES)
def test_claims_and_an_accepted_verdict_do_not_show_them(tee, tmp_path):
    """Claims, their text, the policy made from them, verdict, explanation, proof, and the file of floors."""
    machine = machine_of(tee, **KNOBS[tee])
    claims = claims_of(machine)
    attested = attest(machine)
    kept = FileFloors(tmp_path / "floors.json")
    kept.raise_to(attested.platform, Floor(1).raised_to(attested.freshness))
    shown = [
        repr(claims),
        str(claims),
        repr(claims.measurements),
        repr(claims.verified),
        claims.platform,
        vendors.entry_toml(claims),
        repr(attested),
        attested.platform,
        kept.path.read_text(),
        shown_by_verdict(attested.verdict),
    ]
    assert_hidden("\n".join(shown), tee)


@pytest.mark.parametrize("tee", FAKES)
def test_no_refusal_shows_them(tee):
    """Every lie about this TEE, told by a machine with these ids: error, causes, notes, verdict."""
    known = machine_of(tee, **KNOBS[tee])
    for lie in (lie for lie in LIES if lie.tee == tee):
        machine = machine_of(tee, **{**KNOBS[tee], **lie.machine}) if lie.machine else known
        client = lie.client(machine) if lie.client else Client()
        lies = lie.answer(machine) if callable(lie.answer) else lie.answer
        error = refusal(lambda told=(machine, client, lies): attest(told[0], told[1], **told[2]))
        assert (str(lie), error.reason) == (str(lie), lie.reason)
        assert_hidden(shown_by_error(error), tee)


def test_only_amds_claims_hold_one_and_hide_it():
    """No field of any claims is one of the ids but the chip's, which `repr` leaves out."""
    for tee in FAKES:
        claims = claims_of(machine_of(tee, **KNOBS[tee]))
        held = {
            field.name
            for field in dataclasses.fields(claims)
            if getattr(claims, field.name) in [*IDS[tee], MODULE_ID.decode()]
        }
        assert held == ({"chip_id"} if tee == "sev-snp" else set())
        assert not any(field.repr for field in dataclasses.fields(claims) if field.name in held)


def test_a_genuine_chip_is_not_shown():
    """The same of real hardware, whose ids are its owner's."""
    sample = evidence.read("snp", "milan-vcek-ok")
    claims = sample.verify()
    shown = f"{claims!r}{claims.platform}{claims.verified}{vendors.entry_toml(claims)}"
    for spelling in spellings(sample.quote[0x1A0:0x1E0]):
        assert spelling not in shown


def test_what_is_looked_for_would_be_found():
    """The search sees an id however it is written."""
    for write in (bytes.hex, repr, list, base64.b64encode, base64.urlsafe_b64encode):
        with pytest.raises(AssertionError):
            assert_hidden(f"chip {write(CHIP_ID)}", "sev-snp")
    with pytest.raises(AssertionError):
        assert_hidden(f"chip {CHIP_ID.hex()[:20].upper()}…", "sev-snp")
