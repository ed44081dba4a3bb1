"""What a refusal of the operator's files tells to type: at 3 a.m. it is typed as it stands."""

from __future__ import annotations

import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from blindai.errors import UsageError
from blindai.server.keys.operator import Operator, command, renewal
from tests.server.authority import DAY, KEY, NOW, certificate, key_pem, needs_openssl, openssl, write

SAME_KEY = "a new certificate for the same key, which clients pin: "
ANEW = "or make both anew, and clients have to pin that: "


def hint_of(folder):
    with pytest.raises(UsageError) as caught:
        Operator.load(folder, now=NOW)
    return caught.value.hint


def pem_is_missing(path):
    path.unlink()


def pem_is_garbage(path):
    path.write_bytes(b"no certificate")


STATES = {
    "ended": certificate(KEY, start=-2 * DAY, end=0),
    "ends in a moment": certificate(KEY, end=60),
    "not a CA": certificate(KEY, extensions=()),
    "missing": pem_is_missing,
    "garbage": pem_is_garbage,
}


@needs_openssl
@pytest.mark.parametrize("mode", [0o600, 0o644])
@pytest.mark.parametrize("state", STATES)
def test_a_new_certificate_is_made_for_the_key_that_lies_there(tmp_path, state, mode):
    """Whatever is wrong with the certificate, the key that clients pin is the same afterwards."""
    damage = STATES[state]
    write(tmp_path, KEY, certificate(KEY) if callable(damage) else damage)
    if callable(damage):
        damage(tmp_path / "host_server.pem")
    key = tmp_path / "host_server.key"
    key.chmod(mode)
    before = key.read_bytes()
    hint = hint_of(tmp_path)
    assert hint == SAME_KEY + renewal(tmp_path)
    openssl(hint.removeprefix(SAME_KEY))
    assert key.read_bytes() == before
    key.chmod(0o600)
    operator = Operator.load(tmp_path, now=int(time.time()))
    assert operator.warnings == ()
    assert operator.certificate.public_key() == KEY.public_key()


def test_an_encrypted_key_is_no_reason_for_another(tmp_path):
    """Its passphrase is known to somebody: openssl asks for it."""
    text = key_pem(KEY, BestAvailableEncryption(b"secret"))
    write(tmp_path, KEY, certificate(KEY, end=60), key_text=text)
    assert hint_of(tmp_path) == SAME_KEY + renewal(tmp_path)
    write(tmp_path, KEY, certificate(KEY), key_text=text)
    hint = hint_of(tmp_path)
    assert hint.startswith("openssl pkey ")
    assert "newkey" not in hint


def test_two_files_that_do_not_belong_together(tmp_path):
    """The key may be the wrong one: that is asked before a certificate is made for it."""
    write(tmp_path, KEY, certificate(ec.generate_private_key(ec.SECP256R1())))
    hint = hint_of(tmp_path)
    assert hint.startswith("clients pin the key: if it is the right one")
    assert hint.endswith(renewal(tmp_path))


@needs_openssl
@pytest.mark.parametrize(
    "text", [b"garbage", key_pem(ec.generate_private_key(ec.SECP521R1()))], ids=["garbage", "P-521"]
)
def test_what_is_no_usable_key_is_put_aside_and_not_written_over(tmp_path, text):
    """It may be somebody's only copy of something; what was put aside before it stays too."""
    key = tmp_path / "host_server.key"
    (tmp_path / "host_server.key.old").write_bytes(b"older")
    write(tmp_path, KEY, certificate(KEY), key_text=text)
    if text != b"garbage":
        write(tmp_path, KEY, certificate(ec.generate_private_key(ec.SECP521R1())), key_text=text)
    _, _, line = hint_of(tmp_path).partition(ANEW)
    openssl(line)
    assert sorted(path.read_bytes() for path in tmp_path.glob("*.old*")) == sorted([b"older", text])
    assert key.read_bytes() != text
    Operator.load(tmp_path, now=int(time.time()))


@needs_openssl
def test_a_folder_that_is_missing_is_made(tmp_path):
    """openssl does not make it, and would fail."""
    folder = tmp_path / "the operator's" / "tls"
    hint = hint_of(folder)
    assert hint.startswith("make both: mkdir -p ")
    openssl(hint.removeprefix("make both: "))
    Operator.load(folder, now=int(time.time()))


def test_a_key_that_is_missing_is_asked_for_first(tmp_path):
    """With the certificate there, the key is somewhere: it would be another operator's to clients."""
    write(tmp_path, KEY, certificate(KEY))
    (tmp_path / "host_server.key").unlink()
    assert hint_of(tmp_path) == f"put the key back; {ANEW}{command(tmp_path)}"
