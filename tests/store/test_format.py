"""The format of sealed files, read here once more from its description, and what it costs in memory."""

from __future__ import annotations

import hmac
import struct
import tracemalloc

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blindai.store.store import Store
from tests.store.shelf import CHUNK, KEY, blob_files, content, described, put


def unsealed(raw: bytes, key: bytes, kind: int, name: str) -> bytes:
    """Open a sealed file as its description says."""
    magic, was, key_id, salt, size, context, mac = struct.unpack(">16s B 8s 32s Q 32s 32s", raw[:129])
    assert magic == b"blindai sealed 1"
    assert was == kind
    assert key_id == hmac.digest(key, b"blindai-store-key-id-v1", "sha256")[:8]
    derived = HKDF(SHA256(), 64, salt=salt, info=b"blindai-store-file-v1").derive(key)
    place = struct.pack(">BQ", kind, len(name)) + name.encode()
    assert context == hmac.digest(derived[32:], b"context\0" + place, "sha256")
    assert mac == hmac.digest(derived[32:], b"header\0" + raw[:97], "sha256")
    chunks = [raw[at : at + CHUNK + 16] for at in range(129, len(raw), CHUNK + 16)]
    plain = b"".join(
        AESGCM(derived[:32]).decrypt(index.to_bytes(11, "big") + bytes([chunk is chunks[-1]]), chunk, None)
        for index, chunk in enumerate(chunks)
    )
    assert len(plain) == size
    return plain


@pytest.mark.parametrize("size", [0, 5, CHUNK, 2 * CHUNK + 1])
def test_sealed_files_are_what_their_description_says(path, size):
    """A store written by this version can be read from the description alone."""
    with Store.open(path, KEY) as store:
        put(store, "alice/a", content("a", size))
        (key,) = store._ledger.catalogue.keys
    (file,) = blob_files(path)
    assert unsealed(file.read_bytes(), key.secret, 2, file.name) == content("a", size)
    first, model = unsealed((path / "catalogue").read_bytes(), KEY, 1, "catalogue").split(b"\n")
    assert key.secret.hex().encode() in first
    assert file.name.encode() in model


def test_no_two_files_have_a_key_in_common(path):
    """Every file that is ever written has a salt of its own, the catalogue's next version too."""
    with Store.open(path, KEY) as store:
        salts = [(path / "catalogue").read_bytes()[25:57]]
        for number in range(5):
            put(store, f"alice/{number}", content("same"))
            salts += [file.read_bytes()[25:57] for file in path.iterdir()]
        store.rotate()
        salts += [file.read_bytes()[25:57] for file in path.iterdir()]
    assert len(set(salts)) == len(salts) == 13


def test_a_large_model_is_never_held(path):
    """Storing, reading and sealing again take a few chunks of memory, whatever the model's size."""
    piece, pieces = content("piece", CHUNK), 48
    buffer = memoryview(bytearray(CHUNK))
    with Store.open(path, KEY) as store:
        tracemalloc.start()
        try:
            with store.stage("alice") as staging:
                for _ in range(pieces):
                    staging.write(piece)
                staged = staging.finish()
                model = described("alice/large", b"", sha256=staged.sha256, size_bytes=staged.size_bytes)
                store.commit(staged, model)
            with store.read(model) as blob:
                while blob.readinto(buffer):
                    pass
            store.rotate()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 8 * CHUNK
