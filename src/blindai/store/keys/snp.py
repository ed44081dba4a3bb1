"""The sealing key of an AMD SEV-SNP guest: derived by the processor's firmware, never stored.

Two requests to /dev/sev-guest (linux/sev-guest.h; AMD's firmware ABI, document 56860):

1. SNP_GET_REPORT says the guest's version and the committed firmware, which the second request must name
2. SNP_GET_DERIVED_KEY returns a key into which the firmware mixes what the request selects
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from blindai.errors import StoreError, StoreFault
from blindai.store.keys.source import derived

# _IOWR('S', 0 and 1, struct snp_guest_request_ioctl of 32 bytes)
SNP_GET_REPORT = 0xC0205300
SNP_GET_DERIVED_KEY = 0xC0205301
# struct snp_guest_request_ioctl: msg_version (and padding), req_data, resp_data, exitinfo2
REQUEST = struct.Struct("<B7xQQQ")
# struct snp_report_req: user_data, vmpl, reserved; struct snp_report_resp has 4000 bytes
REPORT_REQUEST = struct.Struct("<64sI28s")
REPORT_RESPONSE_BYTES = 4000
# struct snp_derived_key_req: root_key_select, reserved, guest_field_select, vmpl, guest_svn, tcb_version
KEY_REQUEST = struct.Struct("<IIQIIQ")
KEY_RESPONSE_BYTES = 64
_MESSAGE_VERSION = 1

# The firmware's answers begin alike: status, then for a report its size, then zeros up to byte 32.
_STATUS = struct.Struct("<I")
_REPORT_HEAD = struct.Struct("<II24x")
_REPORT_BYTES = 0x4A0
_GUEST_SVN = struct.Struct("<I")
_GUEST_SVN_AT = 0x04
_COMMITTED_TCB = struct.Struct("<Q")
_COMMITTED_TCB_AT = 0x1E0
_KEY_HEAD_BYTES = 32

# Root key 0 belongs to the chip (VCEK, or the cloud's VLEK where the host loaded one). Never 1, the VMRK:
# that one comes from a migration agent, so whoever runs the agent could derive our key.
_CHIP_ROOT_KEY = 0
# Every field there is in message version 1. The measurement alone would let the host start the same image
# under a policy that allows debugging, and read the key out of it. The guest SVN and the firmware's version
# keep older, broken ones from deriving the keys of newer ones. A firmware update that the host commits
# therefore costs the store, as another machine does; what was there is refused by name, not lost in silence.
GUEST_POLICY, IMAGE_ID, FAMILY_ID, MEASUREMENT, GUEST_SVN, TCB_VERSION = (1 << bit for bit in range(6))
_ALL_FIELDS = GUEST_POLICY | IMAGE_ID | FAMILY_ID | MEASUREMENT | GUEST_SVN | TCB_VERSION
# The firmware mixes in this level and refuses one that is more privileged than the caller's: 0 is the level
# of a guest without a paravisor. Under a paravisor the request fails, and `vtpm` is the source to use.
_VMPL = 0

Ioctl = Callable[[int, int, bytearray], int]


def _open_device() -> int:
    return os.open("/dev/sev-guest", os.O_RDWR | os.O_CLOEXEC)


def _ioctl(descriptor: int, request: int, argument: bytearray) -> int:
    answer: int = fcntl.ioctl(descriptor, request, argument, True)  # changes the argument in place
    return answer


@dataclass(frozen=True)
class SnpKey:
    """The key of this guest on this chip. `opener` and `ioctl` are the device's."""

    opener: Callable[[], int] = _open_device
    ioctl: Ioctl = _ioctl
    name = "snp-derived"
    persistent = True

    def sealing_key(self) -> bytes:
        try:
            descriptor = self.opener()
        except OSError as exc:
            raise StoreError(
                StoreFault.UNAVAILABLE,
                f"/dev/sev-guest cannot be opened: {exc.strerror}",
                hint="it exists in SEV-SNP guests only; without a udev rule, root alone may open it",
            ) from exc
        try:
            svn, tcb = self._versions(descriptor)
            request = KEY_REQUEST.pack(_CHIP_ROOT_KEY, 0, _ALL_FIELDS, _VMPL, svn, tcb)
            answer = self._ask(descriptor, SNP_GET_DERIVED_KEY, request, KEY_RESPONSE_BYTES)
        finally:
            os.close(descriptor)
        head, key = answer[:_KEY_HEAD_BYTES], answer[_KEY_HEAD_BYTES:]
        # Status and reserved bytes are all zeros; a key of zeros is an answer that was never filled in.
        if any(head) or not any(key):
            raise _bad_answer("the derived key", _STATUS.unpack_from(head)[0])
        return derived(key, self.name)

    def _versions(self, descriptor: int) -> tuple[int, int]:
        """Return the guest's SVN and the committed TCB: the highest that a key may be asked for."""
        request = REPORT_REQUEST.pack(bytes(64), _VMPL, bytes(28))
        answer = self._ask(descriptor, SNP_GET_REPORT, request, REPORT_RESPONSE_BYTES)
        status, size = _REPORT_HEAD.unpack_from(answer)
        if status or size != _REPORT_BYTES:
            raise _bad_answer("the report", status)
        at = _REPORT_HEAD.size
        (svn,) = _GUEST_SVN.unpack_from(answer, at + _GUEST_SVN_AT)
        (tcb,) = _COMMITTED_TCB.unpack_from(answer, at + _COMMITTED_TCB_AT)
        return svn, tcb

    def _ask(self, descriptor: int, number: int, request: bytes, response_bytes: int) -> bytes:
        sent = ctypes.create_string_buffer(request, len(request))
        received = ctypes.create_string_buffer(response_bytes)
        argument = bytearray(
            REQUEST.pack(_MESSAGE_VERSION, ctypes.addressof(sent), ctypes.addressof(received), 0)
        )
        try:
            self.ioctl(descriptor, number, argument)
        except OSError as exc:
            firmware = REQUEST.unpack(argument)[3]
            raise StoreError(
                StoreFault.UNAVAILABLE,
                f"/dev/sev-guest refused: {exc.strerror} (firmware error {firmware:#x})",
                hint="a busy processor answers later; under a paravisor use vtpm:/path",
            ) from exc
        answer = received.raw
        ctypes.memset(received, 0, response_bytes)
        return answer


def _bad_answer(what: str, status: int) -> StoreError:
    return StoreError(
        StoreFault.UNAVAILABLE, f"/dev/sev-guest did not answer with {what} (firmware status {status:#x})"
    )
