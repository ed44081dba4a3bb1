from __future__ import annotations

from pathlib import Path

import pytest

from blindai.errors import StoreError, StoreFault
from blindai.store.keys.gramine import GramineKey
from blindai.testing.sealing import FakeGramineKeys


def _key(folder: Path, by="mrenclave", **enclave: bytes) -> bytes:
    return GramineKey(by, FakeGramineKeys(folder, **enclave).start()).sealing_key()


def test_the_same_enclave_gets_the_same_key(tmp_path: Path):
    """Same code, same processor, same key, of 32 bytes; and the enclave's own secret is not that key."""
    key = _key(tmp_path)
    assert key == _key(tmp_path)
    assert len(key) == 32
    assert (tmp_path / "_sgx_mrenclave").read_bytes() not in key


@pytest.mark.parametrize("other", [{"mrenclave": b"other code"}, {"fuses": b"another processor"}])
def test_another_enclave_gets_another_key(tmp_path: Path, other):
    """Other code, or the same code elsewhere, cannot open the store."""
    assert _key(tmp_path) != _key(tmp_path, **other)


def test_the_signers_key_outlives_an_update(tmp_path: Path):
    """`gramine-mrsigner` depends on the signer and not on the code: owners have to allow it."""
    key = _key(tmp_path, "mrsigner")
    assert key == _key(tmp_path, "mrsigner", mrenclave=b"the next version")
    assert key != _key(tmp_path, "mrsigner", mrsigner=b"another signer")
    assert key != _key(tmp_path)


def test_one_secret_under_two_names_gives_two_keys(tmp_path: Path):
    """A host that shows one key under both names does not make the strict key follow from the lax one."""
    for by in ("mrenclave", "mrsigner"):
        (tmp_path / f"_sgx_{by}").write_bytes(b"sixteen bytes ok")
    assert GramineKey("mrenclave", tmp_path).sealing_key() != GramineKey("mrsigner", tmp_path).sealing_key()


@pytest.mark.parametrize("data", [b"", b"k" * 15, b"k" * 17, bytes(16), b"k" * 32, b"6b" * 16])
def test_what_is_no_key_is_refused(tmp_path: Path, data):
    """Another length, or the zeros of a key that was never set, is no key."""
    (tmp_path / "_sgx_mrenclave").write_bytes(data)
    with pytest.raises(StoreError) as caught:
        GramineKey("mrenclave", tmp_path).sealing_key()
    assert caught.value.fault is StoreFault.UNAVAILABLE


def test_outside_an_enclave(tmp_path: Path):
    """Without Gramine's files the error says where they would be."""
    with pytest.raises(StoreError, match="cannot be read") as caught:
        GramineKey("mrenclave", tmp_path / "keys").sealing_key()
    assert caught.value.fault is StoreFault.UNAVAILABLE
    assert "Gramine" in caught.value.hint
