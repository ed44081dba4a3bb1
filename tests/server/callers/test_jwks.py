"""The issuer's key file: what may stand in it, and what happens when it changes under a running server."""

from __future__ import annotations

import json
import logging
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from blindai.errors import UsageError
from blindai.server.callers import jwks
from blindai.server.callers.jwks import LOOK_SECONDS, MAX_KEYS, KeyFile
from blindai.server.callers.tokens import TokenRefused
from blindai.wire import base64url
from tests.server.callers.issuer import NOW, curve_key, edwards_key, token

CURVE, EDWARDS = curve_key(), edwards_key()
LATER = NOW + LOOK_SECONDS


def keys_of(*members: object) -> dict[str, bytes]:
    read = jwks.parse(json.dumps({"keys": members}).encode())
    return {kid: key.thumbprint for kid, key in read.items()}


def test_both_kinds_of_key():
    """P-256 and Ed25519 keys are read; a thumbprint is that of RFC 7638, whatever else stands there."""
    curve = {**CURVE.jwk, "alg": "ES256", "use": "sig", "key_ops": ["verify"], "x5t": "AAAA"}
    assert keys_of(curve, {**EDWARDS.jwk, "alg": "EdDSA"}) == {
        "curve": CURVE.thumbprint,
        "edwards": EDWARDS.thumbprint,
    }


def test_the_thumbprint_of_the_specification():
    """The example of RFC 8037, appendix A.3, comes out as printed there."""
    public = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    found = keys_of({"kty": "OKP", "crv": "Ed25519", "x": public, "kid": "a"})["a"]
    assert base64url.encode(found) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_keys_for_other_purposes():
    """What an issuer publishes for encryption, or of kinds that we do not take, is passed over."""
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    coordinates = {n: base64url.encode(getattr(p384, n).to_bytes(48, "big")) for n in "xy"}
    modulus = base64url.encode(
        rsa.generate_private_key(65537, 2048).public_key().public_numbers().n.to_bytes(256, "big")
    )
    others = (
        {"kty": "RSA", "kid": "rsa", "n": modulus, "e": "AQAB", "use": "sig", "alg": "RS256"},
        {"kty": "EC", "crv": "P-384", "kid": "p384", **coordinates},
        {"kty": "AKP", "alg": "ML-DSA-44", "kid": "quantum", "pub": "AAAA"},
        {**CURVE.jwk, "kid": "enc", "use": "enc"},
        {**CURVE.jwk, "kid": "ecdh", "alg": "ECDH-ES"},
        {**CURVE.jwk, "kid": "list", "alg": ["ES256"]},
        {**CURVE.jwk, "kid": "derive", "key_ops": ["deriveKey"]},
        {**CURVE.jwk, "kid": "ops", "key_ops": "verify"},
        {**EDWARDS.jwk, "kid": "wrong", "alg": "ES256"},
        {"kty": ["EC"], "crv": {}},
        {},
    )
    assert keys_of(*others, CURVE.jwk) == {"curve": CURVE.thumbprint}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", "not a JSON object"),
        (b"{}", "not a list"),
        (b'{"keys":{}}', "not a list"),
        (b'{"keys":[],"keys":[]}', "duplicate member"),
        (b'{"keys":["curve"]}', "not an object"),
        (json.dumps({"keys": [{}] * (MAX_KEYS + 1)}).encode(), "not a list of at most"),
        (b" " * 300_000, "longer than"),
        (b'{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}', "private or symmetric"),
        (b'{"keys":[{"kty":"oct"}]}', "private or symmetric"),
        (b'{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","p":"c2VjcmV0"}]}', "private or symmetric"),
        (b'{"keys":[{"kty":"AKP","priv":"c2VjcmV0"}]}', "private or symmetric"),
        (json.dumps({"keys": [{**CURVE.jwk, "d": "c2VjcmV0"}]}).encode(), "private or symmetric"),
        (
            json.dumps({"keys": [{**EDWARDS.jwk, "use": "enc", "d": "c2VjcmV0"}]}).encode(),
            "private or symmetric",
        ),
        (json.dumps({"keys": [CURVE.jwk, CURVE.jwk]}).encode(), "the same kid"),
        (json.dumps({"keys": [CURVE.jwk, {**EDWARDS.jwk, "kid": "curve"}]}).encode(), "the same kid"),
        (json.dumps({"keys": [CURVE.material]}).encode(), "no kid"),
        (json.dumps({"keys": [{**CURVE.jwk, "kid": ""}]}).encode(), "no kid"),
        (json.dumps({"keys": [{**CURVE.jwk, "kid": 1}]}).encode(), "no kid"),
        (json.dumps({"keys": [{**CURVE.jwk, "x": CURVE.jwk["y"]}]}).encode(), "not a point"),
        (json.dumps({"keys": [{**CURVE.jwk, "x": "AA"}]}).encode(), "32 bytes"),
        (json.dumps({"keys": [{**CURVE.jwk, "x": CURVE.jwk["x"] + "="}]}).encode(), "base64url"),
        (json.dumps({"keys": [{**CURVE.jwk, "y": None}]}).encode(), "32 bytes"),
        (json.dumps({"keys": [{**EDWARDS.jwk, "x": base64url.encode(bytes(57))}]}).encode(), "32 bytes"),
    ],
)
def test_files_that_do_not_load(tmp_path, text, message):
    """A file with a secret in it, or that is not plain about its keys, stops the start; it is not quoted."""
    path = tmp_path / "jwks.json"
    path.write_bytes(text)
    with pytest.raises(UsageError, match=message) as caught:
        KeyFile(path)
    assert "c2VjcmV0" not in str(caught.value)


def test_what_is_not_a_file(tmp_path):
    """A missing file, a folder and a pipe are usage errors, at once."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "pipe", ""):
        with pytest.raises(UsageError, match="does not load"):
            KeyFile(tmp_path / name)


def test_rotated_keys(issuer):
    """When the file changes, new keys count, and those that are gone take their tokens with them."""
    tokens, old, new = issuer.tokens(), token(issuer.curve), curve_key("new")
    tokens.verify(old, NOW)
    issuer.publish(new.jwk)
    tokens.verify(old, NOW + LOOK_SECONDS - 1)  # not looked yet
    with pytest.raises(TokenRefused):
        tokens.verify(old, LATER)
    assert tokens.verify(token(new), LATER).namespace == "alice"


def test_a_key_exchanged_under_its_kid(issuer):
    """A remembered token ends where another key has taken its kid, and whoever forges has another key id."""
    tokens, old = issuer.tokens(), token(issuer.curve)
    before = tokens.verify(old, NOW)
    impostor = curve_key(issuer.curve.kid)
    issuer.publish(impostor.jwk)
    with pytest.raises(TokenRefused):
        tokens.verify(old, LATER)
    assert tokens.verify(token(impostor), LATER).key_id != before.key_id


def test_no_keys_at_all(issuer):
    """A file with an empty list takes every token back."""
    tokens, text = issuer.tokens(), token(issuer.curve)
    tokens.verify(text, NOW)
    issuer.publish()
    with pytest.raises(TokenRefused):
        tokens.verify(text, LATER)


def test_a_file_that_turns_bad(issuer, caplog):
    """Keys of before stay, and one line without contents says so, however often one looks; then it mends."""
    tokens, text = issuer.tokens(), token(issuer.curve)
    issuer.publish({"kty": "oct", "k": "c2VjcmV0", "kid": "secret"})
    with caplog.at_level(logging.INFO, "blindai.server"):
        for look in range(1, 5):
            tokens.verify(text, NOW + look * LOOK_SECONDS)
        assert len(caplog.messages) == 1
        assert "private or symmetric" in caplog.text
        issuer.path.unlink()
        for look in range(5, 9):
            tokens.verify(text, NOW + look * LOOK_SECONDS)
        assert len(caplog.messages) == 2
        issuer.publish(issuer.edwards.jwk)
        with pytest.raises(TokenRefused):
            tokens.verify(text, NOW + 9 * LOOK_SECONDS)
    assert len(caplog.messages) == 3
    assert "c2VjcmV0" not in caplog.text


def test_the_file_is_looked_at_now_and_then(issuer):
    """Between two looks the disk is left alone; a clock that was set back does not stop them."""
    file = KeyFile(issuer.path)
    assert not file.refresh(NOW)
    issuer.publish(issuer.edwards.jwk)
    assert not file.refresh(NOW + LOOK_SECONDS - 1)
    assert list(file.keys) == ["curve", "edwards"]
    assert file.refresh(NOW - 3600)
    assert list(file.keys) == ["edwards"]


def test_a_file_written_in_place(issuer):
    """A change is seen without a rename, too."""
    file = KeyFile(issuer.path)
    issuer.path.write_text(json.dumps({"keys": [EDWARDS.jwk]}))
    assert file.refresh(NOW)
    assert list(file.keys) == ["edwards"]


def test_keys_that_were_made_elsewhere():
    """A key whose coordinate starts with zeros keeps them: it has 32 bytes like any other."""
    for seed in range(2000):
        private = ec.derive_private_key(seed + 1, ec.SECP256R1())
        numbers = private.public_key().public_numbers()
        if numbers.x >> 248 == 0:
            break
    short = base64url.encode(numbers.x.to_bytes(31, "big"))
    full = base64url.encode(numbers.x.to_bytes(32, "big"))
    y = base64url.encode(numbers.y.to_bytes(32, "big"))
    assert list(keys_of({"kty": "EC", "crv": "P-256", "x": full, "y": y, "kid": "a"})) == ["a"]
    with pytest.raises(ValueError, match="32 bytes"):
        keys_of({"kty": "EC", "crv": "P-256", "x": short, "y": y, "kid": "a"})
