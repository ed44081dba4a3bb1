"""What a refused server chose to say reaches terminals and logs: it must not take them over."""

from __future__ import annotations

import json

import pytest

from tests.attestation.scene import Client, attest, policy_of, refusal

CLEAR_SCREEN = "\x1b[2J\x1b[Haccepted: tdx"
HOSTILE = [CLEAR_SCREEN, "a\nFAIL\nb", "a\r b", "\u202etxt", "\ud800", "a\u0085b", "\x00"]


def assert_printable(text):
    """Assert that `text` can be printed and logged: no control, direction or surrogate characters."""
    assert [character for character in text if not character.isprintable() and character != "\n"] == []
    text.encode("utf-8")


@pytest.mark.parametrize("said", HOSTILE, ids=ascii)
def test_a_setting_cannot_paint_over_the_verdict(tdx, said):
    """Neither the message nor the tree carries control characters, and no line is added."""
    client = Client(policy=policy_of(tdx, tables='[require]\nisolation = "process"'))
    honest = refusal(lambda: attest(tdx, client, settings={"isolation": "none"}))
    error = refusal(lambda: attest(tdx, client, settings={"isolation": said}))
    for text in (str(error), error.hint, str(error.verdict)):
        assert_printable(text)
    assert str(error.verdict).count("\n") == str(honest.verdict).count("\n")
    json.dumps(error.verdict.to_json(), ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize("said", [CLEAR_SCREEN.lower(), "a\nfail\nb"], ids=ascii)
def test_a_name_cannot_paint_over_the_verdict(tdx, said):
    """Names are shown when they do not match; those that could do harm are refused before."""
    keyset = json.loads(attest_keyset(tdx)) | {"names": [said]}
    error = refusal(lambda: attest(tdx, keyset_raw=json.dumps(keyset).encode()))
    assert_printable(str(error))
    assert_printable(str(error.verdict))


def attest_keyset(tdx):
    from blindai.testing import make_keyset  # noqa: PLC0415
    from tests.attestation.scene import NOW, TLS  # noqa: PLC0415

    return make_keyset(tls_spki_sha256=TLS.spki_sha256, now=NOW)
