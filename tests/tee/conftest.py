from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

EVIDENCE_FOLDER = Path(
    os.environ.get("BLINDAI_EVIDENCE", Path(__file__).resolve().parents[3] / "shared" / "evidence")
)


@dataclass(frozen=True)
class GenuineSample:
    """Evidence of real hardware, as it was captured, and the Unix time to judge it at."""

    quote: bytes
    collateral: dict[str, Any]
    now: int


@pytest.fixture
def genuine_tdx():
    """Return a function that reads one genuine TDX sample by its name."""
    folder = EVIDENCE_FOLDER / "tdx"
    if not folder.is_dir():
        reason = f"no genuine evidence in {EVIDENCE_FOLDER}: set BLINDAI_EVIDENCE to the folder with tdx/"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    def read(name):
        sample = folder / name
        meta = json.loads((sample / "meta.json").read_text())
        return GenuineSample(
            quote=(sample / "quote.bin").read_bytes(),
            collateral=json.loads((sample / "collateral.json").read_text()),
            now=int(datetime.datetime.fromisoformat(meta["now"]).timestamp()),
        )

    return read
