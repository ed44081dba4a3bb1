"""The documents say what the code does, and the check of that finds what differs."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

import blindai
from blindai.server.settings import load_settings
from blindai.server.settings.entries import ENTRIES
from blindai.server.settings.tables import KEYS
from tests.repository.tree import ROOT

TARGETS = frozenset({"demo", "test"})


@pytest.fixture
def check_readme(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("check_readme")


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="blindai")
    verify = parser.add_subparsers(required=True).add_parser("verify")
    verify.add_argument("host")
    verify.add_argument("--policy")
    return parser


def test_the_documents_are_in_step(check_readme: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command in the documents exists, and docs/cli.md is what `make docs` writes."""
    code = check_readme.main()
    assert capsys.readouterr().err == ""
    assert code == 0


def test_a_setting_that_the_document_does_not_know_is_found(
    check_readme: ModuleType,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """docs/configuration.md with another default than the code's is out of step."""
    document = tmp_path / "configuration.md"
    text = check_readme.docs.CONFIGURATION.read_text("utf-8")
    document.write_text(text.replace("| 9924 |", "| 9925 |"), "utf-8")
    monkeypatch.setattr(check_readme.docs, "CONFIGURATION", document)
    assert check_readme.main() == 1
    assert "docs/configuration.md differs from blindai.server.settings" in capsys.readouterr().err
    document.write_text(check_readme.docs.render_configuration(document.read_text("utf-8")), "utf-8")
    assert document.read_text("utf-8") == text


def test_every_key_of_the_settings_is_in_the_document() -> None:
    """Each key has its row, with the variable that sets it; each variable is one that the server takes."""
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    for key in KEYS:
        assert f"| `{key.name}` | `{key.variable}` | " in text
    for key in [key for entries in ENTRIES.values() for key in entries]:
        assert f"| `{key.name}` | " in text


def test_the_example_of_the_settings_loads(tmp_path: Path) -> None:
    """The file in docs/configuration.md is one that the server takes, and so is its variable."""
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    file = tmp_path / "blindai.toml"
    file.write_text(example, "utf-8")
    (name, value) = re.findall(r"`(BLINDAI_LIMITS_[A-Z_]+)=(\d+)`", text)[0]
    loaded = load_settings(file, {name: value}, {})
    assert loaded.settings.callers[0].name == "alice"
    assert loaded.settings.max_models == int(value)


@pytest.mark.parametrize(
    "block",
    [
        "```sh\nmake demo\nmake test ARGS='-k wire'  # a comment\n```",
        "```sh\nblindai verify localhost --policy policy.toml | head -3\n```",
        "```sh\nFOO=1 blindai verify \\\n  localhost > verdict.txt && make test\n```",
        "```console\n$ blindai verify localhost\nmake believe\n```",
        "```python\nmake = believe\n```",
        "make believe",
    ],
)
def test_commands_that_exist_pass(
    check_readme: ModuleType, parser: argparse.ArgumentParser, block: str
) -> None:
    """Real verbs and flags pass, and so does whatever is not a command."""
    assert check_readme.problems(block, parser=parser, targets=TARGETS) == []


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("```sh\nmake believe\n```", "no such target: believe"),
        ("```sh\nmake test && make believe\n```", "no such target: believe"),
        ("```sh\nblindai verify localhost --trust-me\n```", "unrecognized arguments: --trust-me"),
        ("```sh\nblindai trust localhost\n```", "invalid choice: 'trust'"),
        ("```console\n$ blindai verify\n```", "required: host"),
    ],
)
def test_commands_that_do_not_exist_are_found(
    check_readme: ModuleType, parser: argparse.ArgumentParser, block: str, said: str
) -> None:
    """An unknown make verb, an unknown flag, an unknown verb and a missing argument are each reported."""
    (problem,) = check_readme.problems(block, parser=parser, targets=TARGETS)
    assert said in problem


def test_the_makefile_has_the_verbs(check_readme: ModuleType) -> None:
    """The verbs that people are told of are the verbs that there are."""
    targets = check_readme.make_targets((ROOT / "Makefile").read_text("utf-8"))
    assert {"help", "demo", "test", "check", "bench", "docs", "lock", "clean"} <= targets


def test_the_changelog_has_this_version() -> None:
    """The changelog's newest section is this version, or the unreleased work that leads to it."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert headings[0] in ("Unreleased", blindai.__version__)
    assert blindai.__version__ in text


def test_contributing_is_short() -> None:
    """The guide for contributors is read because it is short."""
    assert (ROOT / "CONTRIBUTING.md").read_text("utf-8").count("\n") <= 150


def test_the_index_of_decisions_is_complete() -> None:
    """Each decision record is linked from the index, says its price, and has a number of its own."""
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text("utf-8")
    records = sorted(folder.glob("[0-9]*.md"))
    assert [path.name[:4] for path in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for path in records:
        text = path.read_text("utf-8")
        assert f"({path.name})" in index
        for heading in ("## Options", "## Decision", "## Negative consequences"):
            assert heading in text, f"{path.name} has no {heading}"


def test_links_between_documents_lead_somewhere() -> None:
    """A relative link in a document names a file that exists."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{path.name}: {target}"
        for path in documents
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
        if not (path.parent / target).exists()
    ]
    assert broken == []
