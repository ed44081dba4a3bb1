"""Small wrong versions of a Python file: what `mutate.py` asks the tests to notice.

Each mutant replaces one piece of the source by its position in the syntax tree, so that everything else,
line numbers and comments included, stays as it was written. Left alone: annotations, decorators, docstrings,
f-strings (before Python 3.12 the tree does not say where their parts stand) and what only type checkers read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

FLIPS = {
    "==": ("!=",), "!=": ("==",), "<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<"),
    "is": ("is not",), "is not": ("is",), "in": ("not in",), "not in": ("in",),
}  # fmt: skip
OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
SWAPS = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """One change: `source[start:end]` becomes `text`. `line` and `code` are where, for people."""

    line: int
    code: str
    what: str
    start: int
    end: int
    text: bytes

    def of(self, source: bytes) -> bytes:
        return source[: self.start] + self.text + source[self.end :]


def mutants(source: bytes) -> list[Mutant]:
    """Return every mutant of a file, in the order of its lines."""
    found = {(m.start, m.end, m.text): m for m in _Finder(source).walk()}
    return sorted(found.values(), key=lambda mutant: (mutant.start, mutant.end, mutant.text))


class _Finder:
    def __init__(self, source: bytes) -> None:
        self._source = source
        self._lines = source.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def walk(self) -> Iterator[Mutant]:
        yield from self._visit(ast.parse(self._source), guarded=False)

    def _visit(self, node: ast.AST, *, guarded: bool) -> Iterator[Mutant]:
        """Yield the mutants of a node and of all below it; `guarded` says that an `if` stands above it."""
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.If) and _for_types_only(node)):
            return
        yield from self._of(node, guarded=guarded)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            below = guarded or (isinstance(node, ast.If) and name in ("body", "orelse"))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                below = False
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self._visit(child, guarded=below)

    def _of(self, node: ast.AST, *, guarded: bool) -> Iterator[Mutant]:
        match node:
            case ast.Compare():
                yield from self._comparison(node)
            case ast.BoolOp():
                yield from self._connective(node)
            case ast.UnaryOp(op=ast.Not()):
                yield self._replace(node, "not x -> x", b"(" + self._text(node.operand) + b")")
            case ast.Constant():
                yield from self._constant(node)
            case ast.Call(func=ast.Name(id=name)) if name in SWAPS:
                yield self._replace(node.func, f"{name} -> {SWAPS[name]}", SWAPS[name].encode())
            case ast.If(body=[ast.Raise() | ast.Return()], orelse=[]):
                yield from self._condition(node.test, "True")  # False is what dropping the body comes to
            case ast.If() | ast.IfExp() | ast.While():
                yield from self._condition(node.test, "True", "False")
            case ast.comprehension():
                for test in node.ifs:
                    yield from self._condition(test, "True", "False")
            case ast.stmt():
                yield from self._dropped(node, guarded=guarded)

    def _dropped(self, node: ast.stmt, *, guarded: bool) -> Iterator[Mutant]:
        match node:
            case ast.Return() if guarded:
                yield self._replace(node, "return dropped", b"pass")
            case ast.Raise():
                yield self._replace(node, "raise dropped", b"pass")
            case ast.Continue():
                yield self._replace(node, "continue dropped", b"pass")
            case ast.Expr(value=ast.Call()):
                yield self._replace(node, "call dropped", b"pass")

    def _constant(self, node: ast.Constant) -> Iterator[Mutant]:
        value = node.value
        if isinstance(value, bool):
            yield self._replace(node, f"{value} -> {not value}", f"{not value}".encode())
        elif isinstance(value, int):
            for other in (value - 1, value + 1):
                yield self._replace(node, f"{value} -> {other}", f"({other})".encode())

    def _comparison(self, node: ast.Compare) -> Iterator[Mutant]:
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            word = OPERATORS[type(operator)]
            start, end = self._span(left)[1], self._span(right)[0]
            spelled = re.search(rb"\s+".join(map(re.escape, word.encode().split())), self._source[start:end])
            for other in FLIPS[word] if spelled else ():
                span = (start + spelled.start(), start + spelled.end()) if spelled else (0, 0)
                yield self._mutant(span, f"{word} -> {other}", other.encode())
            left = right

    def _connective(self, node: ast.BoolOp) -> Iterator[Mutant]:
        word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            start, end = self._span(left)[1], self._span(right)[0]
            spelled = re.search(rb"\b" + word.encode() + rb"\b", self._source[start:end])
            if spelled:
                span = (start + spelled.start(), start + spelled.end())
                yield self._mutant(span, f"{word} -> {other}", other.encode())
        neutral = "True" if word == "and" else "False"
        for number, value in enumerate(node.values, 1):
            yield self._replace(value, f"operand {number} of `{word}` -> {neutral}", neutral.encode())

    def _condition(self, test: ast.expr, *values: str) -> Iterator[Mutant]:
        for forced in values:
            if not isinstance(test, ast.Constant):
                yield self._replace(test, f"condition -> {forced}", forced.encode())

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        # A node that was parsed has an end; the type only allows for trees made by hand.
        end_line, end_column = node.end_lineno or 0, node.end_col_offset or 0
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[end_line - 1] + end_column

    def _text(self, node: ast.expr) -> bytes:
        start, end = self._span(node)
        return self._source[start:end]

    def _replace(self, node: ast.expr | ast.stmt, what: str, text: bytes) -> Mutant:
        return self._mutant(self._span(node), what, text)

    def _mutant(self, span: tuple[int, int], what: str, text: bytes) -> Mutant:
        line = self._source.count(b"\n", 0, span[0]) + 1
        code = self._lines[line - 1].decode("utf-8").strip()
        return Mutant(line, code, what, *span, text)


def _for_types_only(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
