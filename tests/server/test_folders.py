"""Whether a folder can be made is said without making it, and to root too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blindai.server import folders


def test_what_is_there_and_what_is_not(tmp_path, monkeypatch):
    """The nearest that exists; a name without a folder is one of the working folder."""
    (tmp_path / "file").touch()
    assert folders.first_there(tmp_path) == tmp_path
    assert folders.first_there(tmp_path / "a" / "b") == tmp_path
    assert folders.first_there(tmp_path / "file" / "b") == tmp_path / "file"
    monkeypatch.chdir(tmp_path)
    assert folders.first_there(Path("a")) == tmp_path


def test_a_folder_that_can_be_written(tmp_path):
    """Root may write into one that no mode allows it to: modes alone say nothing there."""
    assert folders.can_be_written(tmp_path)
    tmp_path.chmod(0o500)
    assert folders.can_be_written(tmp_path) == (os.geteuid() == 0)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_a_file_system_where_nobody_can_make_files(folder):
    """Root may write there, says the kernel when asked; making a folder fails."""
    if not Path(folder).is_dir():
        pytest.skip(f"no {folder} here")
    assert not folders.can_be_written(Path(folder))
