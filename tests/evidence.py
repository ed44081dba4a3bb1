"""Genuine evidence samples: where they are, and what their authors know about them.

The samples are not part of the repository. `BLINDAI_EVIDENCE` names the folder; the default is
`../shared/evidence` beside the checkout. Without them the tests that need them are skipped, saying how to
get them; with CI=true they fail instead, so that nobody ships on tests that did not run.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blindai.attestation import vendors
from blindai.attestation.policy import Policy
from blindai.attestation.trust import ProductionTrust
from blindai.attestation.types import Claims, Collateral, Evidence
from blindai.attestation.verdict import Outcome
from blindai.errors import Reason
from blindai.testing.samples import folder as folders

FOLDER = Path(os.environ.get("BLINDAI_EVIDENCE") or Path(__file__).parents[2] / "shared" / "evidence")


@dataclass(frozen=True)
class Sample:
    """One sample. Times are Unix seconds; `expect` is what its meta.json says of it."""

    name: str
    evidence: Evidence
    stapled: Collateral
    now: int
    valid_from: int
    valid_to: int
    expect: dict[str, Any]

    @property
    def quote(self) -> bytes:
        return self.evidence.value

    @property
    def collateral(self) -> dict[str, str]:
        """Its vendor's member of what a server would staple."""
        (collateral,) = self.stapled.values()
        return dict(collateral)

    def verify(self, *, value: bytes | None = None, **changed: Any) -> Claims:
        """Verify it as it was recorded, or with other bytes for evidence, `collateral`, `trust` or `now`."""
        return vendors.verify(
            Evidence(self.evidence.media_type, self.quote if value is None else value),
            changed.pop("collateral", self.stapled),
            **{"trust": ProductionTrust(), "now": self.now, **changed},
        )


def refused(claims: Claims, entry: str, *, now: int) -> list[tuple[str, Reason | None]]:
    """Return what a policy of this one entry refuses about claims: which claim, for which reason."""
    (accept,) = Policy.from_toml(f"version = 1\n{entry}").accept
    checks = vendors.appraise(accept, claims, now=now)
    return [(check.claim, check.reason) for check in checks if check.outcome is Outcome.FAIL]


def read(tee: str, name: str) -> Sample:
    """Return a sample; skip the test, or under CI fail it, where there is none."""
    return _read(tee, require(tee, name))


def require(tee: str, *names: str) -> Path:
    """Return a path among the samples; skip the test, or under CI fail it, where there is none."""
    path = FOLDER.joinpath(tee, *names)
    if not path.exists():
        reason = f"no genuine evidence at {path}: set BLINDAI_EVIDENCE to the folder that holds {tee}/"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@functools.cache
def _read(tee: str, folder: Path) -> Sample:
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    recording = folders.read(folder, tee)
    return Sample(
        name=folder.name,
        evidence=recording.evidence,
        stapled=recording.collateral,
        now=_seconds(meta["now"]),
        valid_from=_seconds(meta["valid_from"]),
        valid_to=_seconds(meta["valid_to"]),
        expect=meta["expect"],
    )


def _seconds(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp())
