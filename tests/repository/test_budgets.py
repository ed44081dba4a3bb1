"""What a reader may count on in every file: short, finished, described."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.repository.tree import PURE, ROOT, SOURCE, functions, python_files, relative

MAX_FILE_LINES = 320
MAX_FUNCTION_LINES = 70
# Written in pieces, so that this file does not find itself.
UNFINISHED = ("TO" + "DO", "FIX" + "ME", "X" + "XX")
VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "misc"})

IMPURE_BUILTINS = frozenset({"open", "print", "input", "exec", "eval", "breakpoint", "__import__"})
IMPURE_METHODS = frozenset({"now", "utcnow", "today", "generate", "generate_private_key", "generate_key"})


def test_source_files_are_short() -> None:
    """No source file is longer than a reader can hold in mind."""
    lengths = {relative(path): path.read_text("utf-8").count("\n") for path in python_files(SOURCE)}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    """No function is longer than a screen."""
    lengths = {
        f"{relative(path)}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in python_files(SOURCE)
        for function in functions(path)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_nothing_is_left_for_later() -> None:
    """No source carries a mark of unfinished work; what is missing is an issue, not a comment."""
    places = (ROOT / name for name in ("src", "tests", "scripts", "bench", "demo"))
    found = [
        f"{relative(path)}: {mark}"
        for path in python_files(*places)
        for mark in UNFINISHED
        if mark in path.read_text("utf-8")
    ]
    assert found == []


def test_files_are_named_after_what_they_hold() -> None:
    """No module has a name that could hold anything."""
    assert [relative(path) for path in python_files(SOURCE) if path.stem in VAGUE_NAMES] == []


def test_every_test_says_what_it_shows() -> None:
    """Each test has a docstring: the behaviour in a sentence."""
    missing = [
        f"{relative(path)}:{function.name}"
        for path in python_files(ROOT / "tests")
        for function in functions(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert missing == []


def test_pure_floors_take_clock_and_randomness_as_arguments() -> None:
    """The pure floors call nothing that reads a clock, makes a key or talks to the outside.

    The import contracts forbid the modules; this finds what needs no import or comes with an allowed one.
    """
    found = [f"{relative(path)}: {call}" for path in python_files(*PURE) for call in _impure_calls(path)]
    assert found == []


@pytest.mark.parametrize(
    "call",
    ["print(1)", "open('key.pem')", "datetime.now(UTC)", "date.today()", "Ed25519PrivateKey.generate()"],
)
def test_an_impure_call_is_found(call: str, tmp_path: Path) -> None:
    """The search for impure calls sees each kind of them."""
    path = tmp_path / "module.py"
    path.write_text(f"def step():\n    return {call}\n", encoding="utf-8")
    assert _impure_calls(path) == [f"{call} in line 2"]


def _impure_calls(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in IMPURE_BUILTINS:
                found.append(f"{ast.unparse(node)} in line {node.lineno}")
            case ast.Attribute(attr=name) if name in IMPURE_METHODS:
                found.append(f"{ast.unparse(node)} in line {node.lineno}")
    return found
