"""The sealing key of an AMD SEV-SNP guest: derived by the processor's firmware, never stored.

Two requests to /dev/sev-guest (linux/sev-guest.h; AMD's firmware ABI, document 56860):

1. SNP_GET_REPORT says the guest's version and the committed firmware, which the second request must name
2. SNP_GET_DERIVED_KEY returns a key into which the firmware mixes what the request selects
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from blindai.devices import sev_guest
from blindai.devices.sev_guest import AnswerRefused, Ioctl, RequestRefused, SevGuestChannel
from blindai.errors import StoreError, StoreFault
from blindai.store.keys.source import derived

_GUEST_SVN = struct.Struct("<I")
_GUEST_SVN_AT = 0x04
_COMMITTED_TCB = struct.Struct("<Q")
_COMMITTED_TCB_AT = 0x1E0

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


@dataclass(frozen=True)
class SnpKey:
    """The key of this guest on this chip. `opener` and `ioctl` are the device's."""

    opener: Callable[[], int] = sev_guest.open_device
    ioctl: Ioctl = sev_guest.ioctl
    name = "snp-derived"
    persistent = True

    def sealing_key(self) -> bytes:
        try:
            descriptor = self.opener()
        except OSError as exc:
            raise StoreError(
                StoreFault.UNAVAILABLE,
                f"{sev_guest.DEVICE} cannot be opened: {exc.strerror}",
                hint="it exists in SEV-SNP guests only; without a udev rule, root alone may open it",
            ) from exc
        try:
            key = _asked(SevGuestChannel(descriptor, self.ioctl))
        except RequestRefused as exc:
            raise StoreError(
                StoreFault.UNAVAILABLE,
                f"{sev_guest.DEVICE} refused: {exc.strerror} (firmware error {exc.exitinfo2:#x})",
                hint="a busy processor answers later; under a paravisor use vtpm:/path",
            ) from exc
        except AnswerRefused as exc:
            raise StoreError(
                StoreFault.UNAVAILABLE,
                f"{sev_guest.DEVICE} did not answer with {exc.what} (firmware status {exc.status:#x})",
            ) from exc
        finally:
            os.close(descriptor)
        return derived(key, self.name)


def _asked(channel: SevGuestChannel) -> bytes:
    report = channel.report(bytes(64), vmpl=_VMPL)
    # The guest's SVN and the committed TCB: the highest that a key may be asked for.
    (svn,) = _GUEST_SVN.unpack_from(report, _GUEST_SVN_AT)
    (tcb,) = _COMMITTED_TCB.unpack_from(report, _COMMITTED_TCB_AT)
    return channel.derived_key(
        root_key=_CHIP_ROOT_KEY, fields=_ALL_FIELDS, vmpl=_VMPL, guest_svn=svn, tcb=tcb
    )
