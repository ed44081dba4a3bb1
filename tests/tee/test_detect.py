from __future__ import annotations

from pathlib import Path

import pytest

from blindai.errors import UsageError
from blindai.tee.detect import INTERFACES, detect, no_attester


def test_a_machine_without_a_tee(tmp_path: Path):
    """Nothing is found; the error lists each path that was looked for, and the way to go on."""
    detection = detect(tmp_path)
    assert detection.found == ()
    error = no_attester(detection)
    assert isinstance(error, UsageError)
    for interface in INTERFACES:
        for path in interface.paths:
            assert str(tmp_path / path) in str(error)
    assert "no trusted execution environment was found" in str(error)
    assert "--simulation" in error.hint


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda interface: interface.what)
def test_each_interface_is_found(interface, tmp_path: Path):
    """An interface is found once all its paths exist, and not before."""
    for path in interface.paths:
        assert interface not in detect(tmp_path).found
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    detection = detect(tmp_path)
    assert detection.found == (interface,)
    found = [line for line in detection.describe().splitlines() if line.startswith("  found")]
    assert len(found) == 1
    assert interface.what in found[0]
    assert "cannot ask it for evidence yet" in str(no_attester(detection))
