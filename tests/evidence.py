"""Genuine evidence samples: where they are, and what their authors know about them.

The samples are not part of the repository. `BLINDAI_EVIDENCE` names the folder; the default is
`../shared/evidence` beside the checkout. Without them the tests that need them are skipped, saying how to
get them; with CI=true they fail instead, so that nobody ships on tests that did not run.
"""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("BLINDAI_EVIDENCE") or Path(__file__).parents[2] / "shared" / "evidence")


@dataclass(frozen=True)
class Sample:
    """One sample. Times are Unix seconds; `expect` is what its meta.json says of it."""

    name: str
    quote: bytes
    collateral: dict[str, str]
    now: int
    valid_from: int
    valid_to: int
    expect: dict[str, Any]


def read(tee: str, name: str) -> Sample:
    """Return a sample; skip the test, or under CI fail it, where there is none."""
    folder = FOLDER / tee / name
    if not folder.is_dir():
        reason = f"no genuine evidence at {folder}: set BLINDAI_EVIDENCE to the folder that holds {tee}/"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    return Sample(
        name=name,
        quote=(folder / "quote.bin").read_bytes(),
        collateral=json.loads((folder / "collateral.json").read_text("utf-8")),
        now=_seconds(meta["now"]),
        valid_from=_seconds(meta["valid_from"]),
        valid_to=_seconds(meta["valid_to"]),
        expect=meta["expect"],
    )


def _seconds(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp())
