"""A sealing key that a TPM gives out only while the machine has booted what it had booted when it was made.

1. first use: 32 random bytes are sealed under the PCRs of now; what the TPM returns is kept in a file
2. later: the TPM loads it, checks the PCRs (PolicyPCR), and unseals
3. the TPM confirms by its ticket that the object was made here, under the same PCRs

Step 3 is against a host that swaps the file: whoever boots anything on this TPM can seal a key he knows,
under any policy. Without it the server would seal models under the host's key.

The TPM has to be inside the TEE, as on confidential machines of the large clouds: one that the host runs
gives every key to the host. So commands and answers cross no border, and are not encrypted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from blindai.errors import StoreError, StoreFault
from blindai.store.keys import kept
from blindai.store.keys.source import KEY_BYTES
from blindai.store.keys.tpm import (
    Exchange,
    Sealed,
    Tpm,
    TpmRefusal,
    pcr_digest,
    pcr_policy,
    pcr_selection,
    read_ticket,
    sealed_public,
)
from blindai.store.keys.tpm_bytes import Reader, sized

# All that decides which code runs: firmware (0), option ROMs (2), boot loader or unified kernel image (4),
# secure boot (7), GRUB's command lines and files (8, 9), the image's parts (11), command lines and
# extensions from outside it (12, 13), the machine owner's keys (14). Left out are the host's own: 1, 3, 5
# and 6 hold its settings and disks, 10 and 15 change while the machine runs. PCR 11 also counts systemd's
# boot phases: the server's unit needs After=systemd-pcrphase.service, else a restart finds another value.
PCRS = (0, 2, 4, 7, 8, 9, 11, 12, 13, 14)
_BOOT_LOADER_PCR = 4

_MAGIC = b"blindai-vtpm-v1\n"
_MAX_PART_BYTES = 1024
_MAX_FILE_BYTES = 4 * _MAX_PART_BYTES
_MAX_ANSWER_BYTES = 4096


@dataclass(frozen=True)
class VtpmKey:
    """The key whose sealed form lies at `path`. Without `exchange` it talks to /dev/tpmrm0."""

    path: Path
    exchange: Exchange | None = None
    name = "vtpm"
    persistent = True

    def sealing_key(self) -> bytes:
        with _device(self.exchange) as exchange:
            tpm = Tpm(exchange)
            try:
                values = _measured(tpm)
                with _handle(tpm, tpm.storage_key()) as parent:
                    return self._unsealed(tpm, parent, values)
            except TpmRefusal as exc:
                raise StoreError(
                    StoreFault.UNAVAILABLE,
                    f"the TPM refused with {exc}",
                    hint="tpm2_rc_decode explains the number; an owner password has to be empty",
                ) from exc

    def _unsealed(self, tpm: Tpm, parent: int, values: Mapping[int, bytes]) -> bytes:
        data = kept.read(self.path, _MAX_FILE_BYTES)
        if data is None:
            sealed = tpm.create(
                parent, sealed_public(pcr_policy(values)), secrets.token_bytes(KEY_BYTES), PCRS
            )
            kept.make(self.path, _encode(sealed))
            data = kept.read(self.path, _MAX_FILE_BYTES)  # another process may have been first
        sealed = _decode(self.path, data or b"")
        with _handle(tpm, self._loaded(tpm, parent, sealed)) as item:
            secret = self._opened(tpm, item)
            self._check_origin(tpm, item, sealed, values)
        if len(secret) != KEY_BYTES:
            self._refuse(StoreFault.FOREIGN, "does not hold a sealing key")
        return secret

    def _loaded(self, tpm: Tpm, parent: int, sealed: Sealed) -> int:
        try:
            return tpm.load(parent, sealed)
        except TpmRefusal as exc:
            if exc.code & 0x80:  # about what it was given, not about the TPM's own state
                self._refuse(StoreFault.FOREIGN, "was sealed by another TPM, or changed since", exc)
            raise

    def _opened(self, tpm: Tpm, item: int) -> bytes:
        session = tpm.policy_session(PCRS)
        try:
            return tpm.unseal(item, session)
        except TpmRefusal as exc:
            tpm.flush(session)
            if exc.code == TpmRefusal.POLICY_FAIL:
                self._refuse(
                    StoreFault.WRONG_KEY, "was sealed when this machine had booted other software", exc
                )
            raise

    def _check_origin(self, tpm: Tpm, item: int, sealed: Sealed, values: Mapping[int, bytes]) -> None:
        """Refuse a key that was not made by what is running now: its maker knows it."""
        made_under = pcr_selection(PCRS) + sized(pcr_digest(values))
        expected = sealed_public(pcr_policy(values))[:-2]  # less the empty `unique`, which the TPM fills
        if not sealed.creation.startswith(made_under) or not sealed.public.startswith(expected):
            self._refuse(StoreFault.FOREIGN, "was sealed by other software than what is running now")
        try:
            tpm.certify_creation(item, sealed)
        except TpmRefusal as exc:
            self._refuse(StoreFault.FOREIGN, "has a history that the TPM does not confirm", exc)

    def _refuse(self, fault: StoreFault, what: str, cause: Exception | None = None) -> NoReturn:
        raise StoreError(
            fault,
            f"the sealed key {self.path} {what}",
            hint="boot what it was made under; or remove it and the store: what was sealed is lost then",
        ) from cause


@contextlib.contextmanager
def _device(exchange: Exchange | None) -> Iterator[Exchange]:
    if exchange is not None:
        yield exchange
        return
    try:
        # The resource manager: handles are this descriptor's own, and freed when it closes.
        descriptor = os.open("/dev/tpmrm0", os.O_RDWR | os.O_CLOEXEC)
    except OSError as exc:
        raise StoreError(
            StoreFault.UNAVAILABLE,
            f"/dev/tpmrm0 cannot be opened: {exc.strerror}",
            hint="the machine needs a TPM 2.0, and the server's user the group tss",
        ) from exc

    def send(command: bytes) -> bytes:
        os.write(descriptor, command)  # the driver takes a command in one piece
        return os.read(descriptor, _MAX_ANSWER_BYTES)

    try:
        yield send
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _handle(tpm: Tpm, handle: int) -> Iterator[int]:
    try:
        yield handle
    finally:
        tpm.flush(handle)


def _measured(tpm: Tpm) -> Mapping[int, bytes]:
    values = tpm.pcr_values(PCRS)
    # Zeros where the boot loader should stand: nothing was measured, and a key would be bound to nothing.
    if not any(values[_BOOT_LOADER_PCR]):
        raise StoreError(
            StoreFault.UNAVAILABLE,
            "the TPM's PCR 4 is empty: nothing of this machine's start was measured",
            hint="boot by UEFI with measured boot, or use memory",
        )
    return values


def _encode(sealed: Sealed) -> bytes:
    parts = (sealed.public, sealed.private, sealed.creation, sealed.ticket)
    return _MAGIC + b"".join(sized(part) for part in parts)


def _decode(path: Path, data: bytes) -> Sealed:
    reader = Reader(data, fault=StoreFault.MALFORMED, what=f"the sealed key {path}")
    if not data.startswith(_MAGIC):
        raise StoreError(StoreFault.MALFORMED, f"{path} is not a sealed key")
    reader.take(len(_MAGIC))
    public, private, creation, ticket = (reader.sized(_MAX_PART_BYTES) for _ in range(4))
    reader.finish()
    inner = Reader(ticket, fault=StoreFault.MALFORMED, what=f"the ticket in {path}")
    sealed = Sealed(public, private, creation, read_ticket(inner))
    inner.finish()
    return sealed
