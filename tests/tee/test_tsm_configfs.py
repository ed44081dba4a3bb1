"""`ConfigfsReports` on real folders: FIFOs stand for the attributes, and a thread for the kernel."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from blindai.attestation import vendors
from blindai.attestation.trust import SimulationTrust
from blindai.errors import TeeError, TeeFault
from blindai.tee.tsm import ConfigfsReports, Tsm
from blindai.testing import FakeSnp, FakeTdx
from blindai.testing.certificate_table import certificate_table

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))


@dataclass(frozen=True)
class KernelsFolder(ConfigfsReports):
    """A folder whose entries get attributes when they are made, and lose them when they are removed."""

    serve: Callable[[Path], None] = lambda _: None
    attributes: tuple[str, ...] = ("generation", "provider", "inblob", "outblob")
    threads: list[threading.Thread] = field(default_factory=list)

    def make(self, entry: str) -> None:
        super().make(entry)
        for attribute in self.attributes:
            os.mkfifo(self.folder / entry / attribute)
        self.threads.append(threading.Thread(target=self.serve, args=[self.folder / entry], daemon=True))
        self.threads[-1].start()

    def remove(self, entry: str) -> None:
        self.threads[-1].join(30)
        assert not self.threads[-1].is_alive()
        for attribute in (self.folder / entry).iterdir():
            attribute.unlink()
        super().remove(entry)


def test_a_quote_through_real_files(tmp_path: Path):
    """The whole conversation, in the order of the kernel's documentation; the verifier accepts the quote."""
    machine = FakeTdx(now=NOW)

    def kernel(entry: Path) -> None:
        (entry / "generation").write_bytes(b"7\n")
        (entry / "provider").write_bytes(b"tdx_guest\n")
        with (entry / "inblob").open("rb", buffering=0) as file:
            inblob = file.read(4096)  # one read: what came with the first write
        (entry / "outblob").write_bytes(machine.evidence(inblob).value.ljust(8000, b"\0"))
        (entry / "generation").write_bytes(b"8\n")

    evidence = Tsm(KernelsFolder(tmp_path, kernel)).evidence(REPORT_DATA)
    claims = vendors.verify(
        evidence, machine.collateral(), trust=SimulationTrust([machine.root_sha256]), now=NOW
    )
    assert claims.report_data == REPORT_DATA
    assert list(tmp_path.iterdir()) == []


def test_a_report_with_certificates_through_real_files(tmp_path: Path):
    """Binary attributes come whole, however many pieces they are read in."""
    machine = FakeSnp(now=NOW)
    table = certificate_table(machine)

    def kernel(entry: Path) -> None:
        (entry / "generation").write_bytes(b"0\n")
        (entry / "provider").write_bytes(b"sev_guest\n")
        (entry / "privlevel_floor").write_bytes(b"0\n")
        assert (entry / "privlevel").read_bytes() == b"0"
        inblob = (entry / "inblob").read_bytes()
        (entry / "outblob").write_bytes(machine.evidence(inblob).value)
        with (entry / "auxblob").open("wb", buffering=0) as file:
            for at in range(0, len(table), 1000):
                file.write(table[at : at + 1000])
        (entry / "generation").write_bytes(b"2\n")

    names = ("generation", "provider", "privlevel_floor", "privlevel", "inblob", "outblob", "auxblob")
    tsm = Tsm(KernelsFolder(tmp_path, kernel, names))
    assert tsm.evidence(REPORT_DATA).value[0x50:0x90] == REPORT_DATA
    assert tsm.certificates == table


def test_no_tree(tmp_path: Path):
    """Where configfs is not mounted, or the kernel is too old, there is nothing."""
    with pytest.raises(TeeError) as caught:
        Tsm(ConfigfsReports(tmp_path / "tsm" / "report")).evidence(REPORT_DATA)
    assert caught.value.fault is TeeFault.ABSENT


def test_a_file_in_the_place_of_the_tree(tmp_path: Path):
    """As good as nothing."""
    (tmp_path / "report").write_text("")
    with pytest.raises(TeeError) as caught:
        Tsm(ConfigfsReports(tmp_path / "report")).evidence(REPORT_DATA)
    assert caught.value.fault is TeeFault.ABSENT


def test_a_plain_folder_is_not_the_kernels(tmp_path: Path):
    """An entry can be made in it, and has no attributes; none is made up, and the entry is gone."""
    with pytest.raises(TeeError) as caught:
        Tsm(ConfigfsReports(tmp_path)).evidence(REPORT_DATA)
    assert caught.value.fault is TeeFault.NOT_CONFIGURED
    assert list(tmp_path.iterdir()) == []


def test_writing_creates_no_file(tmp_path: Path):
    """An attribute that is not there is an error, not a new file."""
    (tmp_path / "entry").mkdir()
    with pytest.raises(FileNotFoundError):
        ConfigfsReports(tmp_path).write("entry", "inblob", REPORT_DATA)
    assert list((tmp_path / "entry").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ours(tmp_path: Path):
    """Without the right to make an entry the error says who has it."""
    tmp_path.chmod(0o500)
    with pytest.raises(TeeError) as caught:
        Tsm(ConfigfsReports(tmp_path)).evidence(REPORT_DATA)
    assert caught.value.fault is TeeFault.NOT_ALLOWED


@pytest.mark.parametrize("size", [0, 1, 100, 101, 5000])
def test_no_more_is_read_than_asked_for(tmp_path: Path, size: int):
    """A device that never ends does not fill the memory."""
    (tmp_path / "entry").mkdir()
    (tmp_path / "entry" / "outblob").write_bytes(bytes(size))
    assert len(ConfigfsReports(tmp_path).read("entry", "outblob", 100)) == min(size, 100)
