"""The protocol of /dev/sev-guest. What callers make of it is tested with them: store/keys, tee."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from blindai.devices import sev_guest
from blindai.devices.sev_guest import AnswerRefused, RequestRefused, SevGuestChannel
from blindai.testing.sev_guest import FakeSevGuest

REPORT_DATA = bytes(range(64))


@pytest.fixture
def open_channel():
    """Return a function that opens the device of a fake guest; what it opened is closed after the test."""
    opened = []

    def opener(guest: FakeSevGuest) -> SevGuestChannel:
        opened.append(guest.opener())
        return SevGuestChannel(opened[-1], guest.ioctl)

    yield opener
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler and the kernel's headers")
@pytest.mark.skipif(not Path("/usr/include/linux/sev-guest.h").exists(), reason="needs linux/sev-guest.h")
def test_numbers_and_layouts_are_the_kernels(tmp_path: Path):
    """What we pack by hand is what the kernel's own header says."""
    key_fields = ["root_key_select", "rsvd", "guest_field_select", "vmpl", "guest_svn", "tcb_version"]
    offsets = [f"__builtin_offsetof(struct snp_derived_key_req, {field})" for field in key_fields]
    offsets += [f"__builtin_offsetof(struct snp_report_req, {field})" for field in ("vmpl", "rsvd")]
    offsets += [
        f"__builtin_offsetof(struct snp_ext_report_req, {field})" for field in ("certs_address", "certs_len")
    ]
    offsets += [
        f"__builtin_offsetof(struct snp_guest_request_ioctl, {field})"
        for field in ("req_data", "resp_data", "exitinfo2")
    ]
    (tmp_path / "header.c").write_text(
        "#include <stdio.h>\n#include <sys/ioctl.h>\n#include <linux/sev-guest.h>\n"
        "int main(void) { long all[] = {SNP_GET_REPORT, SNP_GET_DERIVED_KEY, SNP_GET_EXT_REPORT,"
        "sizeof(struct snp_guest_request_ioctl), sizeof(struct snp_report_req),"
        "sizeof(struct snp_report_resp), sizeof(struct snp_ext_report_req),"
        "sizeof(struct snp_derived_key_req), sizeof(struct snp_derived_key_resp),"
        f"SNP_GUEST_VMM_ERR_INVALID_LEN, SNP_GUEST_VMM_ERR_BUSY, {','.join(offsets)}}};"
        'for (int i = 0; i < sizeof all / sizeof *all; i++) printf("%ld ", all[i]); }\n'
    )
    subprocess.run(["cc", "-o", tmp_path / "header", tmp_path / "header.c"], check=True)
    said = [int(number) for number in subprocess.check_output([tmp_path / "header"]).split()]
    assert said[:11] == [
        sev_guest.SNP_GET_REPORT, sev_guest.SNP_GET_DERIVED_KEY, sev_guest.SNP_GET_EXT_REPORT,
        sev_guest.REQUEST.size, sev_guest.REPORT_REQUEST.size, sev_guest.REPORT_RESPONSE_BYTES,
        sev_guest.EXT_REPORT_REQUEST.size, sev_guest.KEY_REQUEST.size, sev_guest.KEY_RESPONSE_BYTES, 1, 2,
    ]  # fmt: skip
    assert struct.unpack("<IIQIIQ", sev_guest.KEY_REQUEST.pack(1, 2, 3, 4, 5, 6)) == (1, 2, 3, 4, 5, 6)
    assert said[11:] == [0, 4, 8, 16, 20, 24, 64, 68, 96, 104, 8, 16, 24]


def test_the_first_question_tells_the_room_for_certificates(open_channel):
    """Without room the host says how much it needs; with it, report and certificates come together."""
    channel = open_channel(FakeSevGuest(certificates=b"c" * 5000))
    with pytest.raises(RequestRefused) as caught:
        channel.extended_report(REPORT_DATA, vmpl=0, room=0)
    assert (caught.value.room_needed, caught.value.busy) == (8192, False)
    report, certificates = channel.extended_report(REPORT_DATA, vmpl=0, room=8192)
    assert report[0x50:0x90] == REPORT_DATA
    assert certificates == (b"c" * 5000).ljust(8192, b"\0")


def test_only_the_hypervisors_word_makes_a_number_the_room_needed(open_channel):
    """Another error leaves what we wrote into the request, which is not what the host needs."""
    guest = FakeSevGuest(errors={sev_guest.SNP_GET_EXT_REPORT: [(errno.EIO, 7)]})
    with pytest.raises(RequestRefused) as caught:
        open_channel(guest).extended_report(REPORT_DATA, vmpl=0, room=4096)
    assert (caught.value.errno, caught.value.exitinfo2, caught.value.room_needed) == (errno.EIO, 7, 0)


def test_a_throttled_request_says_so(open_channel):
    """Busy is the hypervisor's word, in the upper half; the firmware's 2 is something else."""
    guest = FakeSevGuest(errors={sev_guest.SNP_GET_REPORT: [(errno.EIO, 2 << 32), (errno.EIO, 2)]})
    channel = open_channel(guest)
    for busy in (True, False):
        with pytest.raises(RequestRefused) as caught:
            channel.report(REPORT_DATA, vmpl=0)
        assert caught.value.busy is busy


@pytest.mark.parametrize("size", [0, 1183, 1185, 4000, 2**32 - 1])
def test_a_report_of_another_size_is_none(open_channel, size):
    """What the firmware says of its size is not followed past its answer."""
    with pytest.raises(AnswerRefused, match="the report"):
        open_channel(FakeSevGuest(report_size=size)).report(REPORT_DATA, vmpl=0)


def test_a_level_that_the_guest_does_not_have(open_channel):
    """The firmware's status is kept for whoever explains it."""
    with pytest.raises(AnswerRefused) as caught:
        open_channel(FakeSevGuest(vmpl=2)).report(REPORT_DATA, vmpl=0)
    assert (caught.value.what, caught.value.status) == ("the report", 0x16)
