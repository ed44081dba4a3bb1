"""The operator's two files: what one openssl command makes is taken, and all else is refused at the start."""

from __future__ import annotations

import os
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.x509.oid import NameOID

from blindai.errors import UsageError
from blindai.server.keys.operator import MAX_FILE_BYTES, MIN_LEFT_SECONDS, Operator, command
from tests.server.authority import (
    CA,
    DAY,
    KEY,
    NOW,
    SIGNS,
    certificate,
    identity,
    key_pem,
    needs_openssl,
    openssl,
    usage,
    write,
)


@needs_openssl
def test_the_command_in_every_refusal_makes_good_files(tmp_path):
    """What a refusal tells to type makes two files that are taken, without a remark."""
    folder = tmp_path / "the operator's"
    folder.mkdir()
    with pytest.raises(UsageError) as caught:
        Operator.load(folder, now=NOW)
    line = caught.value.hint.removeprefix("make both: ")
    assert line == command(folder)
    openssl(line)
    operator = Operator.load(folder, now=int(time.time()))
    assert operator.warnings == ()
    assert operator.not_after == pytest.approx(NOW + 365 * DAY, abs=600)
    assert operator.certificate_pem == (folder / "host_server.pem").read_text()


KINDS = {
    "RSA": "-newkey rsa:3072",
    "P-384": "-newkey ec -pkeyopt ec_paramgen_curve:P-384",
    "Ed25519": "-newkey ed25519",
}


@needs_openssl
@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_other_kinds_are_taken(tmp_path, kind):
    """What openssl makes without any option beyond the kind of the key; the missing keyUsage is remarked."""
    key, pem = tmp_path / "host_server.key", tmp_path / "host_server.pem"
    openssl(f"openssl req -x509 {KINDS[kind]} -nodes -days 30 -subj /O=Example -keyout {key} -out {pem}")
    operator = Operator.load(tmp_path, now=int(time.time()))
    (remark,) = operator.warnings
    assert "has no keyUsage" in remark
    leaf = x509.load_pem_x509_certificate(identity(operator).certificate_pem.encode())
    leaf.verify_directly_issued_by(operator.certificate)


@needs_openssl
def test_a_key_in_openssls_older_form_is_taken(tmp_path):
    """`openssl ecparam -genkey` writes the parameters before the key."""
    key, pem = tmp_path / "host_server.key", tmp_path / "host_server.pem"
    openssl(f"openssl ecparam -name prime256v1 -genkey -out {key} && chmod 600 {key}")
    openssl(f"openssl req -x509 -new -key {key} -days 30 -subj /O=Example -out {pem}")
    assert b"EC PARAMETERS" in key.read_bytes()
    Operator.load(tmp_path, now=int(time.time()))


@needs_openssl
def test_what_openssl_makes_without_extensions_is_refused(tmp_path):
    """A configuration of one's own without x509_extensions makes a v1 certificate: no authority's."""
    config = tmp_path / "openssl.cnf"
    config.write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    openssl(
        f"openssl req -x509 -config {config} -newkey rsa:2048 -nodes -days 30 -subj /O=Example "
        f"-keyout {tmp_path}/host_server.key -out {tmp_path}/host_server.pem"
    )
    with pytest.raises(UsageError, match="v1 certificate"):
        Operator.load(tmp_path, now=int(time.time()))


ODD = {
    "not a CA": ({"extensions": (x509.BasicConstraints(ca=False, path_length=None),)}, "CA:TRUE"),
    "no basic constraints": ({"extensions": (SIGNS,)}, "CA:TRUE"),
    "no keyCertSign": ({"extensions": (CA, usage("digital_signature", "crl_sign"))}, "keyCertSign"),
    "empty subject": ({"subject": x509.Name([])}, "empty subject"),
    "ended": ({"start": -2 * DAY, "end": 0}, "ended at"),
    "not yet valid": ({"start": 1}, "is valid from"),
    "ends too soon": ({"end": MIN_LEFT_SECONDS - 1}, "too soon"),
    "critical constraints": (
        {"extensions": (CA, x509.NameConstraints([x509.DNSName("example")], excluded_subtrees=None))},
        "critical extension",
    ),
    "too large": (
        {"extensions": (CA, x509.SubjectAlternativeName([x509.DNSName("a" * 60 + ".example")] * 256))},
        "larger than",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_a_certificate_that_clients_would_refuse_is_refused(tmp_path, name):
    """Each with the words of what is wrong, and the file's name."""
    changes, why = ODD[name]
    write(tmp_path, KEY, certificate(KEY, **changes))
    with pytest.raises(UsageError, match=why) as caught:
        Operator.load(tmp_path, now=NOW)
    assert str(caught.value).startswith(f"{tmp_path}/host_server.pem ")


WEAK = {
    "RSA of 1024 bits": lambda: rsa.generate_private_key(public_exponent=65537, key_size=1024),  # noqa: S505
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "Ed448": ed448.Ed448PrivateKey.generate,
}


@pytest.mark.parametrize("name", WEAK)
def test_a_key_that_clients_do_not_take_is_refused(tmp_path, name):
    """The same kinds are taken on both sides."""
    key = WEAK[name]()
    write(tmp_path, key, certificate(key))
    with pytest.raises(UsageError, match="neither RSA of 2048 bits or more, P-256"):
        Operator.load(tmp_path, now=NOW)


@pytest.mark.parametrize("end", [MIN_LEFT_SECONDS, 13 * DAY])
def test_a_certificate_that_ends_soon_is_taken_with_a_remark(tmp_path, end):
    """The log says when, while there is time to make a new one."""
    write(tmp_path, KEY, certificate(KEY, end=end))
    (remark,) = Operator.load(tmp_path, now=NOW).warnings
    assert "send SIGHUP" in remark


def test_an_authority_below_another_is_taken_with_a_remark(tmp_path):
    """A path length of 0 leaves room for servers; clients without BlindAI may want the issuer."""
    extensions = (x509.BasicConstraints(ca=True, path_length=0), SIGNS)
    above = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Above")])
    write(tmp_path, KEY, certificate(KEY, extensions=extensions, issuer=above))
    (remark,) = Operator.load(tmp_path, now=NOW).warnings
    assert "was issued by another" in remark


@pytest.mark.parametrize("missing", ["host_server.pem", "host_server.key"])
def test_a_missing_file_is_named(tmp_path, missing):
    """So is the command that makes both."""
    write(tmp_path, KEY, certificate(KEY))
    (tmp_path / missing).unlink()
    with pytest.raises(UsageError, match=f"{missing} cannot be read: No such file") as caught:
        Operator.load(tmp_path, now=NOW)
    assert "openssl req -x509" in caught.value.hint


KEY_TEXTS = {
    "no PEM": (b"\x00\xff", "is not a PEM private key"),
    "empty": (b"", "is not a PEM private key"),
    "encrypted": (key_pem(KEY, BestAvailableEncryption(b"secret")), "is encrypted"),
    "another's": (key_pem(ec.generate_private_key(ec.SECP256R1())), "is not the key of"),
    "another kind": (key_pem(ed25519.Ed25519PrivateKey.generate()), "is not the key of"),
    "a kind of no use": (key_pem(ed448.Ed448PrivateKey.generate()), "neither RSA"),
    "too large": (b"#" * (MAX_FILE_BYTES + 1), "is larger than"),
}


@pytest.mark.parametrize("name", KEY_TEXTS)
def test_a_wrong_key_is_refused(tmp_path, name):
    """Its file is named; nothing of what is in it is shown."""
    text, why = KEY_TEXTS[name]
    write(tmp_path, KEY, certificate(KEY), key_text=text)
    with pytest.raises(UsageError, match=why) as caught:
        Operator.load(tmp_path, now=NOW)
    assert str(caught.value).startswith(f"{tmp_path}/host_server.key ")
    assert "openssl" in caught.value.hint


@needs_openssl
def test_an_encrypted_key_in_openssls_older_form_is_refused(tmp_path):
    """Its header says so on a line of its own."""
    write(tmp_path, KEY, certificate(KEY))
    path = tmp_path / "host_server.key"
    openssl(f"openssl ec -in {path} -aes256 -passout pass:secret -out {path}.new && mv {path}.new {path}")
    path.chmod(0o600)
    with pytest.raises(UsageError, match="is encrypted"):
        Operator.load(tmp_path, now=NOW)


def test_files_that_are_swapped_or_joined_are_refused(tmp_path):
    """A certificate's file with a key in it would be handed to clients."""
    write(tmp_path, KEY, certificate(KEY))
    pem, key = tmp_path / "host_server.pem", tmp_path / "host_server.key"
    good = pem.read_bytes(), key.read_bytes()
    pem.write_bytes(good[0] + good[1])
    with pytest.raises(UsageError, match="holds a private key"):
        Operator.load(tmp_path, now=NOW)
    pem.write_bytes(good[0] * 2)
    with pytest.raises(UsageError, match="holds 2 certificates"):
        Operator.load(tmp_path, now=NOW)
    pem.write_bytes(b"no certificate")
    with pytest.raises(UsageError, match="is not a PEM certificate"):
        Operator.load(tmp_path, now=NOW)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    """The hint is the line that mends it."""
    path = write(tmp_path, KEY, certificate(KEY)) / "host_server.key"
    path.chmod(mode)
    with pytest.raises(UsageError, match="is open to other users") as caught:
        Operator.load(tmp_path, now=NOW)
    assert caught.value.hint == f"chmod 600 {path}"
    openssl(caught.value.hint)
    Operator.load(tmp_path, now=NOW)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_user_is_refused(tmp_path):
    """Its owner can read and replace it at any time."""
    path = write(tmp_path, KEY, certificate(KEY)) / "host_server.key"
    os.chown(path, 65534, -1)
    with pytest.raises(UsageError, match="belongs to another user"):
        Operator.load(tmp_path, now=NOW)


def test_what_is_no_plain_file_is_refused(tmp_path):
    """A folder in its place, and a pipe that would keep the server waiting for ever."""
    write(tmp_path, KEY, certificate(KEY))
    path = tmp_path / "host_server.key"
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(UsageError, match="is not a plain file"):
        Operator.load(tmp_path, now=NOW)
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory|is not a plain file"):
        Operator.load(tmp_path, now=NOW)


def test_only_the_certificate_itself_is_shown_to_clients(tmp_path):
    """Remarks around it in its file, as `openssl x509 -text` writes them, stay at home."""
    write(tmp_path, KEY, certificate(KEY))
    path = tmp_path / "host_server.pem"
    alone = path.read_text()
    path.write_text(f"private remark\n{alone}another\n")
    assert Operator.load(tmp_path, now=NOW).certificate_pem == alone


def test_the_key_is_not_in_what_is_printed(tmp_path):
    """Nor is it in the description of the value that holds it."""
    operator = Operator.load(write(tmp_path, KEY, certificate(KEY)), now=NOW)
    assert "key" not in repr(operator).replace("keyUsage", "")
