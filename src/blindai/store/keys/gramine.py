"""The sealing key of an SGX enclave, as Gramine hands it to the code inside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from blindai.errors import StoreError, StoreFault
from blindai.store.keys.source import derived

_SECRET_BYTES = 16
_KEYS = Path("/dev/attestation/keys")


@dataclass(frozen=True)
class GramineKey:
    """EGETKEY's seal key, by `mrenclave` or `mrsigner`. `keys` is where Gramine shows its keys.

    The processor mixes in its fuses, its own version and the enclave's DEBUG attribute, so a debug enclave of
    the same code gets another key.
    """

    by: Literal["mrenclave", "mrsigner"] = "mrenclave"
    keys: Path = _KEYS
    persistent = True

    @property
    def name(self) -> str:
        return f"gramine-{self.by}"

    def sealing_key(self) -> bytes:
        path = self.keys / f"_sgx_{self.by}"
        try:
            with path.open("rb") as file:
                secret = file.read(_SECRET_BYTES + 1)
        except OSError as exc:
            raise StoreError(
                StoreFault.UNAVAILABLE,
                f"{path} cannot be read: {exc.strerror}",
                hint="it exists inside a Gramine SGX enclave only; gramine-direct has no such key",
            ) from exc
        # A key of zeros is what Gramine starts a key with that was never set.
        if len(secret) != _SECRET_BYTES or not any(secret):
            raise StoreError(StoreFault.UNAVAILABLE, f"{path} does not hold a key of {_SECRET_BYTES} bytes")
        return derived(secret, self.name)
