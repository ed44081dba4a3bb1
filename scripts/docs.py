"""Writes docs/cli.md from the command line's own parser, and the reason codes of docs/verdict.md, so that the
documents and the code cannot differ.

The text is laid out here and not by argparse, whose help looks different from one Python to the next.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from blindai import reasons
from blindai.cli.main import EXIT_CODES, build_parser

DOCS = Path(__file__).parents[1] / "docs"
TARGET = DOCS / "cli.md"
VERDICT = DOCS / "verdict.md"
TABLE = re.compile(r"(<!-- written by [^\n]+ -->\n).*?(<!-- end -->)", re.DOTALL)
SECTION = re.compile(r"^    # (.+): (Evidence\w+)\n((?:    [A-Z_]+ = .+\n)+)", re.MULTILINE)
HEADER = "# The command line\n\nMade by `make docs` from `blindai --help`; not edited by hand.\n"
REPEATS = {"?": "[{0}]", "*": "[{0} ...]", "+": "{0} [{0} ...]", None: "{0}"}


def render(parser: argparse.ArgumentParser) -> str:
    """Return the page: one section for the program, one for each verb, in the order of the parser."""
    return "\n".join([HEADER, *_sections(parser)])


def render_verdict(text: str) -> str:
    """Return the text with the table of reason codes between its marks."""
    if not TABLE.search(text):
        raise ValueError("docs/verdict.md has lost the marks of its table")
    return TABLE.sub(lambda match: match[1] + _reasons() + match[2], text)


def _reasons() -> str:
    """blindai.reasons says above each group of codes which class they are raised with."""
    exits = {kind.__name__: code for kind, code in EXIT_CODES}
    rows, listed = ["| class | exit code | for | reasons |", "|---|---|---|---|"], set()
    for what, kind, members in SECTION.findall(inspect.getsource(reasons)):
        codes = re.findall(r'"([a-z-]+)"', members)
        listed.update(codes)
        shown = ", ".join(f"`{code}`" for code in codes)
        rows.append(f"| `{kind}` | {exits.get(kind, exits['AttestationError'])} | {what.lower()} | {shown} |")
    if listed != set(reasons.Reason):
        raise ValueError("blindai.reasons has codes outside of its groups")
    return "\n".join(rows) + "\n"


def _sections(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield _section(parser)
    for action in _actions(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  argparse names the type nowhere else
            for child in action.choices.values():
                yield from _sections(child)


def _section(parser: argparse.ArgumentParser) -> str:
    positionals = [action for action in _actions(parser) if not action.option_strings]
    options = [action for action in _actions(parser) if action.option_strings]
    synopsis = [parser.prog, *(_option(action) for action in options if action.required)]
    synopsis += ["[options]"] if any(not action.required for action in options) else []
    synopsis += [_positional(action) for action in positionals]
    example, epilog = _example(parser.epilog or "")
    parts = [
        f"## {parser.prog}",
        parser.description or "",
        f"```text\n{' '.join(synopsis)}\n```",
        "\n".join(
            [line for action in positionals for line in _positional_lines(action, parser)]
            + [f"- `{_option(action)}`: {_help(action, parser)}" for action in options]
        ),
        epilog,
        f"```sh\n{example}\n```" if example else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """argparse has no public way to walk a parser. Hidden arguments and --help are left out."""
    return [
        action
        for action in parser._actions  # noqa: SLF001
        if action.help != argparse.SUPPRESS and action.dest != "help"
    ]


def _positional_lines(action: argparse.Action, parser: argparse.ArgumentParser) -> Iterator[str]:
    if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
        for choice in action._get_subactions():  # noqa: SLF001
            yield f"- `{choice.dest}`: {choice.help}"
    else:
        yield f"- `{_metavar(action)}`: {_help(action, parser)}"


def _positional(action: argparse.Action) -> str:
    repeat = action.nargs if isinstance(action.nargs, str) else None
    return REPEATS.get(repeat, "{0}").format(_metavar(action))


def _option(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings)
    return names if action.nargs == 0 else f"{names} {_metavar(action)}"


def _metavar(action: argparse.Action) -> str:
    if action.metavar is not None:
        return action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar)
    if action.choices is not None:
        return "{" + ",".join(str(choice) for choice in action.choices) + "}"
    return action.dest.upper()


def _help(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    return (action.help or "") % {**vars(action), "prog": parser.prog}


def _example(epilog: str) -> tuple[str, str]:
    """Split `example: COMMAND` from the rest of an epilog; check_readme.py tries the command."""
    if epilog.startswith("example: "):
        return epilog.removeprefix("example: "), ""
    return "", epilog


if __name__ == "__main__":
    TARGET.write_text(render(build_parser()), encoding="utf-8")
    VERDICT.write_text(render_verdict(VERDICT.read_text("utf-8")), encoding="utf-8")
