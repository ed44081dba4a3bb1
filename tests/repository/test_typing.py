from __future__ import annotations

import os
import subprocess
import sys

from tests.serving import SOURCES


def test_a_misspelt_name_is_a_type_error(tmp_path):
    """What `blindai` does not have, a type checker does not find there."""
    program = tmp_path / "program.py"
    program.write_text("import blindai\nblindai.connect\nblindai.conect\n")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", "--cache-dir", os.devnull, str(program)],
        env={**os.environ, "MYPYPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert '"conect"' in checked.stdout
    assert checked.stdout.count("error:") == 1
