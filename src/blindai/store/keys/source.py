"""What the store knows of a sealing key: 32 bytes, a name that clients see, and whether it comes back."""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


class KeySource(Protocol):
    """A source of the one key under which a store is sealed.

    A source is *bound to* what has to be the same for it to give the same key again. The name says which:

    =================  ==========================================================================
    name               the same key comes back only to
    =================  ==========================================================================
    memory             this process
    file               whoever reads the file: simulation only
    gramine-mrenclave  the same enclave code (MRENCLAVE) on the same processor
    gramine-mrsigner   any enclave of the same signer, product id and no older version, same processor
    snp-derived        the same launch measurement, guest policy, ids, version and committed firmware
                       on the same processor
    vtpm               the same measured boot (the PCRs of `vtpm.PCRS`) on the same TPM
    =================  ==========================================================================

    All keys belong to one machine. Code that changes loses what it sealed, unless the store was rotated to
    another key before; only `gramine-mrsigner` outlives an update, which is why owners have to allow it.
    """

    @property
    def name(self) -> str:
        """The word for the keyset's `settings.sealing`, which policies can require."""
        ...

    @property
    def persistent(self) -> bool:
        """Whether the key can come back after this process. If not, nor does anything sealed with it."""
        ...

    def sealing_key(self) -> bytes:
        """Return the 32 bytes. May block on a device; StoreError if it does not answer as it should."""
        ...


def derived(secret: bytes, source: str) -> bytes:
    """Return the sealing key that follows from a secret of the hardware.

    Other software of the same enclave or guest may ask the hardware for the same secret: its keys are not
    ours. Two sources that were given the same secret differ too.
    """
    info = b"blindai-sealing-v1\0" + source.encode("ascii")
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(secret)
