"""Copies of genuine samples that a test may change, and the runner's word on them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from blindai.testing.samples.runner import run
from tests import evidence

TDX = "v4-uptodate-b0c06f"
SGX = "v3-config-and-swhardening-00a067"
MILAN = "milan-vcek-ok"
NITRO = "prod-nonce-2022"
COPIES = [("tdx", TDX), ("sgx", SGX), ("snp", MILAN), ("nitro", NITRO)]


def copied(destination: Path, tee: str, name: str, **meta: Any) -> Path:
    """Copy a genuine sample, with other members in its meta.json, and return its folder."""
    folder = destination / tee / name
    shutil.copytree(evidence.require(tee, name), folder)
    if meta:
        known = json.loads((folder / "meta.json").read_text("utf-8"))
        (folder / "meta.json").write_text(json.dumps({**known, **meta}), "utf-8")
    return folder


def verdict(folder: Path) -> tuple[str, ...]:
    """Return the words of the sample's line, less its name."""
    judgement = run(folder, root=folder.parent).judgement
    return judgement.verdict, *judgement.reasons
