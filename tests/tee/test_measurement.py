from __future__ import annotations

import hashlib
import shutil
import tomllib
from pathlib import Path

import pytest

import blindai
from blindai.errors import UsageError
from blindai.tee.measurement import (
    Measurements,
    policy_toml,
    simulated_launch,
    simulated_measurements,
    source_sha256,
)

SOURCES = hashlib.sha256(b"some sources").hexdigest()


@pytest.fixture
def package(tmp_path):
    """A copy of the running package, in another place and without byte-code caches."""
    copy = tmp_path / "blindai"
    shutil.copytree(Path(blindai.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_the_default_is_the_imported_package():
    """Without an argument the sources that this process imported are measured."""
    assert source_sha256() == source_sha256(Path(blindai.__file__).parent)
    assert len(bytes.fromhex(source_sha256())) == 32


def test_place_and_caches_do_not_count(package):
    """The same files elsewhere, with or without byte-code caches, have the same hash."""
    before = source_sha256(package)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "errors.cpython-311.pyc").write_bytes(b"cache")
    assert source_sha256(package) == before


@pytest.mark.parametrize("name", ["errors.py", "py.typed", "channel/keyset.py"])
def test_one_byte_counts(package, name):
    """One more byte in any file, data files too, changes the hash."""
    before = source_sha256(package)
    with (package / name).open("ab") as file:
        file.write(b"\n")
    assert source_sha256(package) != before


@pytest.mark.parametrize("name", ["planted.py", "planted.pyc", "planted.so", "data/weights.bin"])
def test_a_new_file_counts(package, name):
    """Whatever an import could pick up counts, not only what was there before."""
    before = source_sha256(package)
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_bytes(b"")
    assert source_sha256(package) != before


def test_a_moved_file_counts(package):
    """The same contents under another name are another measurement."""
    before = source_sha256(package)
    (package / "errors.py").rename(package / "mistakes.py")
    assert source_sha256(package) != before


def test_bytes_cannot_move_between_a_name_and_its_file(tmp_path):
    """Two trees whose names and contents run together to the same bytes differ."""
    for folder, name, content in (("a", "m.py", b"n.py"), ("b", "m.pyn.py", b"")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_bytes(b"")
        (tmp_path / folder / name).write_bytes(content)
    assert source_sha256(tmp_path / "a") != source_sha256(tmp_path / "b")


def test_nothing_is_not_measured(tmp_path):
    """A folder that is no package raises instead of giving the hash of nothing."""
    with pytest.raises(UsageError):
        source_sha256(tmp_path)


def test_other_sources_give_another_rtmr2_only():
    """The sources decide rtmr2; firmware and kernel of the simulation never change."""
    ours, theirs = simulated_measurements(SOURCES), simulated_measurements("00" * 32)
    assert ours.rtmr2 != theirs.rtmr2
    assert (ours.mrtd, ours.rtmr0, ours.rtmr1, ours.rtmr3) == (
        theirs.mrtd,
        theirs.rtmr0,
        theirs.rtmr1,
        theirs.rtmr3,
    )
    assert len({ours.mrtd, ours.rtmr0, ours.rtmr1, ours.rtmr2, ours.rtmr3}) == 5


def test_other_sources_give_another_launch():
    """The launch measurement covers the sources, and is none of the measurements of the TDX machine."""
    ours, theirs = simulated_launch(SOURCES), simulated_launch("00" * 32)
    assert ours.measurement != theirs.measurement
    assert (ours.product, ours.tcb) == (theirs.product, theirs.tcb)
    assert ours.measurement not in vars(simulated_measurements(SOURCES)).values()


def test_a_measurement_has_48_bytes():
    """A measurement of another length cannot be made."""
    with pytest.raises(ValueError, match="48"):
        Measurements(*[bytes(48)] * 4, bytes(32))


def test_the_policy_text_names_the_code():
    """The policy is TOML with the version, the TEE and exactly the code identity, and says what it is."""
    measurements = simulated_measurements(SOURCES)
    text = policy_toml(measurements)
    assert tomllib.loads(text) == {
        "version": 1,
        "accept": [
            {
                "tee": "tdx",
                "mrtd": measurements.mrtd.hex(),
                "rtmr1": measurements.rtmr1.hex(),
                "rtmr2": measurements.rtmr2.hex(),
            }
        ],
    }
    assert "SIMULATION - NOT A TEE" in text.splitlines()[0]
