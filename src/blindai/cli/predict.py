"""`blindai predict`: run a model on values from the command line or from files."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from blindai.cli import connection, output, proof
from blindai.cli.parser import Verbs
from blindai.errors import UsageError


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "predict",
        help="run a model",
        description="Run a model and print its outputs. A VALUE is JSON, or @FILE with a .npy or .json file; "
        "the name may be left out for a model with one input.",
        epilog="""example: blindai predict localhost digits --simulation --input image=@digit.npy""",
    )
    connection.add_arguments(parser)
    parser.add_argument("model", metavar="MODEL", help="the model's name")
    parser.add_argument(
        "--input", action="append", default=[], required=True, metavar="[NAME=]VALUE", help="may be repeated"
    )
    parser.add_argument(
        "--output", action="append", default=[], metavar="NAME", help="only this output; may be repeated"
    )
    proof.add_arguments(parser, "of input and output")
    parser.add_argument(
        "--receipt-bodies",
        action="store_true",
        help="put input and output into the proof as they were sent; whoever has the file can read them",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    inputs = parse_inputs(arguments.input)
    if arguments.receipt_bodies and not proof.wanted(arguments):
        raise UsageError("--receipt-bodies goes into a proof", hint="--receipt FILE says where that is saved")
    with (
        connection.connected(arguments) as client,
        proof.of_refusals(arguments, bodies=arguments.receipt_bodies),
    ):
        prediction = client.predict(
            arguments.model, inputs, outputs=arguments.output, receipt=proof.wanted(arguments)
        )
    if arguments.json:
        output.json_data({name: _json(values.tolist()) for name, values in prediction.items()})
    else:
        for name, values in prediction.items():
            output.data(f"{name}: {np.array2string(values, precision=6, separator=', ')}")
    proof.save(arguments, prediction.receipt, bodies=arguments.receipt_bodies)


def _json(value: Any) -> Any:
    """JSON has no NaN and no infinity: null, as in the Open Inference Protocol."""
    if isinstance(value, list):
        return [_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse_inputs(texts: list[str]) -> Any:
    """Return a dict of values by name, or the value itself where one was given without a name."""
    named: dict[str, Any] = {}
    for text in texts:
        name, value = _split(text)
        if not name:
            if len(texts) > 1:
                raise UsageError("with several inputs each needs its name", hint="--input NAME=VALUE")
            return _value(value)
        if name in named:
            raise UsageError(f"the input {name!r} is given twice")
        named[name] = _value(value)
    return named


def _split(text: str) -> tuple[str, str]:
    """Tell NAME=VALUE from a bare value, which may itself contain '='."""
    if text[:1] in ("@", "[", "{", '"', "-") or text[:1].isdigit() or "=" not in text:
        return "", text
    name, _, value = text.partition("=")
    return name, value


def _value(text: str) -> Any:
    if text.startswith("@"):
        return _file(Path(text[1:]))
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        hint = f"a file is given as @{text}" if Path(text).suffix in (".npy", ".json") else _JSON_EXAMPLE
        raise UsageError("an input is not JSON", hint=hint) from exc


_JSON_EXAMPLE = """e.g. --input 'text=["hello"]'"""


def _file(path: Path) -> Any:
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".npy":
            with path.open("rb") as file:
                # No pickles: a .npy file from elsewhere must not run code here.
                return np.lib.format.read_array(file, allow_pickle=False)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    except (ValueError, EOFError, RecursionError, MemoryError) as exc:
        raise UsageError(f"{path} is not a {path.suffix} file of plain values") from exc
    raise UsageError(f"{path} is neither a .npy nor a .json file", hint="numpy.save writes one array as .npy")
