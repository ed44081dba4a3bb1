"""Fails when a document shows a command that does not exist, or one is not what `make docs` writes.

Read are the fenced blocks marked `sh` or `console`: each `make VERB` must be a target of the Makefile, and
each `blindai ...` must parse. Nothing is run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import docs
from blindai.cli.main import build_parser

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/cli.md",
    "docs/configuration.md",
    "docs/operator.md",
    "docs/policy.md",
    "docs/running.md",
    "docs/testing.md",
    "docs/verdict.md",
)
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELLS = frozenset({"sh", "console", "shell", "bash"})
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")
SEPARATORS = frozenset({"|", "||", "&", "&&", ";"})
REDIRECTIONS = frozenset({"<", ">", ">>"})


def problems(text: str, *, parser: argparse.ArgumentParser, targets: frozenset[str]) -> list[str]:
    """Return one sentence for each command in the text that does not exist."""
    found = []
    for words in _commands(text):
        line = " ".join(words)
        if words[0] == "make":
            verbs = [word for word in words[1:] if not ASSIGNMENT.fullmatch(word)]
            found += [f"`{line}`: no such target: {verb}" for verb in verbs if verb not in targets]
        elif words[0] == "blindai":
            found += [f"`{line}`: {reason}" for reason in _refusal(parser, words[1:])]
    return found


def make_targets(makefile: str) -> frozenset[str]:
    """Return the verbs that `make help` shows."""
    return frozenset(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


def _commands(text: str) -> Iterator[list[str]]:
    for language, block in BLOCK.findall(text):
        if language not in SHELLS:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            # In a console block only lines after the prompt are typed; the others are the answer.
            if language == "console" and not line.startswith("$ "):
                continue
            yield from _split(line.removeprefix("$ "))


def _split(line: str) -> Iterator[list[str]]:
    """Split a line into its simple commands, without assignments before and redirections after them."""
    words: list[str] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    tokens = iter(lexer)
    for token in tokens:
        if token in SEPARATORS:
            if words:
                yield words
            words = []
        elif token in REDIRECTIONS:
            next(tokens, None)
        elif words or not ASSIGNMENT.fullmatch(token):
            words.append(token)
    if words:
        yield words


def _refusal(parser: argparse.ArgumentParser, arguments: list[str]) -> list[str]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            parser.parse_args(arguments)
        except SystemExit as leaving:
            if leaving.code not in (0, None):
                return [line for line in said.getvalue().splitlines() if "error:" in line]
    return []


def main() -> int:
    parser = build_parser()
    targets = make_targets((ROOT / "Makefile").read_text("utf-8"))
    found = []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text("utf-8")
        found += [f"{name}: {problem}" for problem in problems(text, parser=parser, targets=targets)]
    if docs.TARGET.read_text("utf-8") != docs.render(parser):
        found.append("docs/cli.md differs from the command line: run `make docs`")
    verdict = docs.VERDICT.read_text("utf-8")
    if verdict != docs.render_verdict(verdict):
        found.append("docs/verdict.md differs from blindai.reasons: run `make docs`")
    configuration = docs.CONFIGURATION.read_text("utf-8")
    if configuration != docs.render_configuration(configuration):
        found.append("docs/configuration.md differs from blindai.server.settings: run `make docs`")
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
