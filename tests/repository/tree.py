"""The files of the repository, for tests that read all of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "blindai"
PURE = (SOURCE / "attestation", SOURCE / "channel", SOURCE / "wire", SOURCE / "errors.py")
NOT_OURS = frozenset({"__pycache__", "dist"})


def files(folder: Path = ROOT) -> Iterator[Path]:
    """Yield every file under a folder but caches, environments and build results."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield path
        elif path.name == ".ci" or not (path.name.startswith(".") or path.name in NOT_OURS):
            yield from files(path)


def python_files(*places: Path) -> Iterator[Path]:
    for place in places:
        yield from (place,) if place.is_file() else (path for path in files(place) if path.suffix == ".py")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
