"""Writes docs/cli.md from the command line's own parser, the reason codes of docs/verdict.md and the keys of
docs/configuration.md, so that the documents and the code cannot differ.

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
from blindai.server.settings.entries import ENTRIES, CallerSettings, JwtSettings, ModelSettings
from blindai.server.settings.key import GIB, KIB, MIB, MOST, MOST_SECONDS, Key, Kind
from blindai.server.settings.tables import KEYS, TABLES

DOCS = Path(__file__).parents[1] / "docs"
TARGET = DOCS / "cli.md"
VERDICT = DOCS / "verdict.md"
CONFIGURATION = DOCS / "configuration.md"
TABLE = re.compile(r"(<!-- written by [^\n]+ -->\n).*?(<!-- end -->)", re.DOTALL)
SECTION = re.compile(r"^    # (.+): (Evidence\w+)\n((?:    [A-Z_]+ = .+\n)+)", re.MULTILINE)
HEADER = "# The command line\n\nMade by `make docs` from `blindai --help`; not edited by hand.\n"
REPEATS = {"?": "[{0}]", "*": "[{0} ...]", "+": "{0} [{0} ...]", None: "{0}"}


def render(parser: argparse.ArgumentParser) -> str:
    """Return the page: one section for the program, one for each verb, in the order of the parser."""
    return "\n".join([HEADER, *_sections(parser)])


def render_verdict(text: str) -> str:
    """Return the text with the table of reason codes between its marks."""
    return _between_marks(text, _reasons())


def render_configuration(text: str) -> str:
    """Return the text with the tables of the settings between its marks."""
    return _between_marks(text, "\n" + "\n".join(_settings()))


def _between_marks(text: str, written: str) -> str:
    if not TABLE.search(text):
        raise ValueError("the document has lost the marks of its table")
    return TABLE.sub(lambda match: match[1] + written + match[2], text)


def _settings() -> Iterator[str]:
    for table, of in TABLES.items():
        yield f"### `[{table}]`\n\n{inspect.getdoc(of)}\n"
        yield "| key | environment | unit | default | meaning |\n|---|---|---|---|---|"
        for key in KEYS:
            if key.table == table:
                cells = (f"`{key.name}`", f"`{key.variable}`", _unit(key), _default(key), key.about.meaning)
                yield f"| {' | '.join(cells)} |"
        yield ""
    for table, of in (("[[callers]]", CallerSettings), ("[[models]]", ModelSettings), ("[jwt]", JwtSettings)):
        yield f"### `{table}`\n\n{inspect.getdoc(of)}\n"
        yield "| key | unit | default | meaning |\n|---|---|---|---|"
        for key in ENTRIES[table.strip("[]")]:
            yield f"| `{key.name}` | {_unit(key)} | {_default(key)} | {key.about.meaning} |"
        yield ""


def _unit(key: Key) -> str:
    about = key.about
    unit = ", ".join(f'`"{choice}"`' for choice in about.choices) or about.unit
    if key.kind is Kind.LIST:
        unit = f"list of {unit}"
    elif key.kind is Kind.BOOLEAN:
        unit = "`true`, `false`"
    if about.most in (MOST, MOST_SECONDS):
        return unit
    return f"{unit}, {f'{about.least} to' if about.least == 0 else 'at most'} {about.most}"


def _default(key: Key) -> str:
    if key.is_required:
        return "required"
    if key.about.default or key.default in (None, "", ()):
        return key.about.default or "none"
    match key.default:
        case bool():
            return f"`{str(key.default).lower()}`"
        case str():
            return f'`"{key.default}"`'
        case float():
            return f"{key.default:g}"
    return f"{key.default}{_in_words(key)}"


def _in_words(key: Key) -> str:
    sizes = ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")) if key.about.unit.startswith("bytes") else ()
    fitting = (f" ({key.default // size} {name})" for size, name in sizes if key.default % size == 0)
    return next(fitting, "") if key.default else ""


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
    CONFIGURATION.write_text(render_configuration(CONFIGURATION.read_text("utf-8")), encoding="utf-8")
