"""blindai.toml: values of a wrong kind by their line, entries, paths, and files that are none."""

from __future__ import annotations

import os

import pytest

from blindai.errors import UsageError
from blindai.server.settings import load_settings
from blindai.server.settings.file import MAX_FILE_BYTES
from blindai.wire.access import Visibility
from tests.server.settings.conftest import KEY_ID

OTHER_ID = "0f" * 32
ALICE = f'[[callers]]\nname = "alice"\nrole = "owner"\nkey_sha256 = "{KEY_ID}"\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("max_models = '3'", "max_models must be an integer"),
        ("max_models = 3.0", "max_models must be an integer"),
        ("max_models = true", "max_models must be an integer"),
        ("max_models = [3]", "max_models must be an integer"),
        ("max_models = {a = 1}", "max_models must be an integer"),
        ("max_models = 2027-01-01", "max_models must be an integer"),
        ("max_models = 0", "max_models must be at least 1"),
        ("max_models = -1", "max_models must be at least 1"),
        ("caller_max_models = -1", "caller_max_models must be at least 0"),
        (f"max_models = 0x{'f' * 5000}", "max_models must be at least 1"),
        ("max_models.a = 1", "max_models must be an integer"),
    ],
)
def test_numbers_of_a_wrong_kind(refusal, line, said):
    """The line is that of the key, not of its table or of the same key in another."""
    text = f"# max_models = 1\n[log]\nlevel = 'info'\n\n[limits]\nmax_headers = 3\n{line}\n"
    assert refusal(text).startswith(f"blindai.toml line 7: [limits] {said}")


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ("server", "open = 1", "open must be true or false"),
        ("server", "open = 'true'", "open must be true or false"),
        ("server", "host = 1", "host must be a string"),
        ("server", "host = ''", "host must be a string, printable and not empty"),
        ("server", 'host = "a\\nb"', "host must be a string, printable and not empty"),
        ("server", "names = 'a.example'", "names must be a list of at least one string"),
        ("server", "names = []", "names must be a list of at least one string"),
        ("server", "names = ['a', 1]", "names must be a list of at least one string"),
        ("server", "names = ['']", "names must be a list of at least one string"),
        ("server", "port = 65536", "port must be between 0 and 65535"),
        ("timeouts", "drain_seconds = '1'", "drain_seconds must be a number"),
        ("timeouts", "drain_seconds = true", "drain_seconds must be a number"),
        ("timeouts", "drain_seconds = nan", "drain_seconds must be between"),
        ("timeouts", "drain_seconds = inf", "drain_seconds must be between"),
        ("timeouts", "drain_seconds = 0.0", "drain_seconds must be between"),
        ("timeouts", "keyset_life_seconds = 172801", "keyset_life_seconds must be between"),
        ("log", "format = 'xml'", 'format must be "text" or "json"'),
        ("log", "level = 'all'", 'level must be "debug", "info", "warning" or "error"'),
    ],
)
def test_values_of_a_wrong_kind(refusal, table, line, said):
    """So is every other kind of value."""
    assert refusal(f"[{table}]\n{line}\n").startswith(f"blindai.toml line 2: [{table}] {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits = 3", 'line 1: "limits" is a table: [limits]'),
        ("[[limits]]\nmax_models = 3", "is a table: [limits]"),
        ("[callers]\nname = 'a'", "is a list of tables: [[callers]]"),
        ("models = ['a.onnx']", "is a list of tables: [[models]]"),
        ("[[jwt]]\njwks = 'a'", "is a table: [jwt]"),
        ("[limits]\nmax_models = 1\nmax_models = 2", "is not TOML"),
        ("[limits]\n[limits]", "is not TOML"),
        ("x = " + "[" * 5000, "is not TOML"),
        (".".join(["a"] * 100_000) + " = 1", "a key of more than 40 parts"),
        ("#" * (MAX_FILE_BYTES + 1), "longer than 1048576 bytes"),
    ],
)
def test_texts_that_are_no_settings(refusal, text, said):
    """Tables of another shape, texts that are not TOML, and texts made to cost time or memory."""
    assert said in refusal(text)


@pytest.mark.parametrize(
    "text", ["limits.max_models = 3", "limits = {max_models = 3}", "[ limits ]\nmax_models=3"]
)
def test_other_spellings_of_a_table(load, text):
    """TOML's other ways to write the same table are the same."""
    assert load(text).settings.max_models == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\nlimits.max_models = 'x'", 2),
        ("\n\nlimits = {max_models = 'x'}", 3),
        ("\n[ 'limits' ]\n\n'max_models'='x'", 4),
        ("[log]\n[limits.max_models]\nx = 1", 2),
        ("# one line: \u2028\n[limits]\r\nmax_models = 'x'", 3),
        ("[log]\nlevel = 'info'\n[zebra.limits]\nmax_models = 1", 3),
    ],
)
def test_lines_of_other_spellings(refusal, text, line):
    """The line is found however the table is written."""
    assert f"blindai.toml line {line}: " in refusal(text)


def test_a_line_in_the_right_one_of_several_tables(refusal):
    """Of many entries, that with the mistake is named."""
    entries = "".join(f"[[models]]\npath = '/m/{number}.onnx'\nmax_waiting = 1\n" for number in range(9))
    said = refusal(entries.replace("5.onnx'\nmax_waiting = 1", "5.onnx'\nmax_waiting = true"))
    assert said.startswith("blindai.toml line 18: [models] max_waiting must be an integer")


def test_thousands_of_callers(load):
    """A file as large as it may be is read in one pass: it must not take minutes to start."""
    text = "".join(
        f"[[callers]]\nname = 'c{number}'\nrole = 'user'\nkey_sha256 = '{number:064x}'\n"
        for number in range(8000)
    )
    assert len(load(text).settings.callers) == 8000


def test_paths_start_from_the_folder_of_the_file(load, tmp_path):
    """Where the server is started from does not matter to a file; on the command line it does."""
    text = (
        "[server]\npublished_policy = 'p.toml'\n[store]\npath = 'store'\nkey = 'file:/k'\n"
        "[[models]]\npath = 'm/a.onnx'\n[[models]]\npath = '/abs/b.onnx'\n[jwt]\njwks = 'j'\nissuer = 'i'\n"
    )
    settings = load(text, models=["c.onnx"]).settings
    assert settings.published_policy == str(tmp_path / "p.toml")
    assert settings.store_path == str(tmp_path / "store")
    assert settings.store_key == "file:/k"
    assert [model.path for model in settings.models] == [str(tmp_path / "m/a.onnx"), "/abs/b.onnx", "c.onnx"]
    assert settings.jwt is not None
    assert settings.jwt.jwks == str(tmp_path / "j")
    assert load("", flags={"store.path": "s", "store.key": "snp"}).settings.store_path == "s"


def test_callers(load):
    """A caller's namespace is its name; an admin has none unless it is given one."""
    text = ALICE + (
        f"max_models = 2\n[[callers]]\nname = 'root'\nrole = 'admin'\nkey_sha256 = '{OTHER_ID}'\n"
        f"[[callers]]\nname = 'bob'\nrole = 'user'\nnamespace = 'team'\nkey_sha256 = '{'a' * 64}'\n"
    )
    loaded = load(text)
    alice, root, bob = loaded.settings.callers
    assert (alice.name, alice.role, alice.namespace, alice.max_models) == ("alice", "owner", "alice", 2)
    assert (root.namespace, bob.namespace) == ("", "team")
    assert loaded.origin["callers[1]"] == "blindai.toml line 6"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"role": '"king"'}, 'line 3: [callers] role must be "admin", "owner" or "user"'),
        ({"role": None}, "line 1: [callers] needs the key role"),
        ({"name": None}, "line 1: [callers] needs the key name"),
        ({"key_sha256": None}, "line 1: [callers] needs the key key_sha256"),
        ({"key_sha256": f'"{KEY_ID.upper()}"'}, "64 lower-case hexadecimal digits"),
        ({"key_sha256": f'"{KEY_ID[:-1]}"'}, "64 lower-case hexadecimal digits"),
        ({"name": '"Alice"'}, "[callers] name cannot be that"),
        ({"name": '"../alice"'}, "[callers] name cannot be that"),
        ({"namespace": '"a/b"'}, "[callers] namespace cannot be that"),
        ({"max_models": "-1"}, "[callers] max_models must be at least 0"),
    ],
)
def test_callers_that_cannot_be(refusal, change, said):
    """Each is refused with the line of the key, or of its entry."""
    values = {"name": '"alice"', "role": '"owner"', "key_sha256": f'"{KEY_ID}"', **change}
    lines = [f"{key} = {value}" for key, value in values.items() if value is not None]
    assert said in refusal("[[callers]]\n" + "\n".join(lines))


def test_models(load):
    """A model is public unless it is shared with callers by their keys' hashes."""
    text = (
        "[[models]]\npath = 'Digits.onnx'\n[[models]]\npath = 'x'\nname = 'b'\n"
        f"visibility = 'shared'\nshared_with = ['{KEY_ID}']\n"
    )
    first, second = load(text).settings.models
    assert (first.name, first.visibility, first.shared_with) == ("digits", Visibility.PUBLIC, ())
    assert (second.name, second.visibility, second.shared_with) == ("b", Visibility.SHARED, (KEY_ID,))
    assert type(second.visibility) is Visibility


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("name = 'a'", "needs the key path"),
        ("path = 'a b.onnx'", "cannot be served as 'a b'"),
        ("path = 'x'\nname = 'alice/x'", "it has no namespace"),
        ("path = 'x'\nname = '../x'", "cannot be served as '../x'"),
        ("path = 'x'\nvisibility = 'private'", 'visibility must be "public" or "shared"'),
        ("path = 'x'\nvisibility = 'shared'", "a shared model names the key ids"),
        (f"path = 'x'\nshared_with = ['{KEY_ID}']", "a shared model names the key ids"),
        ("path = 'x'\nvisibility = 'shared'\nshared_with = ['alice']", "64 lower-case hexadecimal digits"),
        ("path = 'x'\nmax_request_bytes = 99999999999", "is over [limits] max_request_bytes"),
    ],
)
def test_models_that_cannot_be(refusal, lines, said):
    """Each is refused with its line, before any file is opened."""
    assert said in refusal(f"[[models]]\n{lines}\n")


def test_tokens(load):
    """The issuer of tokens, with the claims' names as they usually are."""
    jwt = load("[jwt]\njwks = '/keys.json'\nissuer = 'https://issuer.example'\n").settings.jwt
    assert jwt is not None
    assert (jwt.jwks, jwt.issuer, jwt.role_claim, jwt.namespace_claim) == (
        "/keys.json",
        "https://issuer.example",
        "role",
        "namespace",
    )


def test_an_issuer_is_needed(refusal):
    """Keys without whose they are would take tokens of anybody who signs with them."""
    assert refusal("\n[jwt]\njwks = 'a'\n").startswith("blindai.toml line 2: [jwt] needs the key issuer")


@pytest.mark.parametrize("kind", ["missing", "folder", "unreadable", "latin-1"])
def test_files_that_cannot_be_read(tmp_path, kind):
    """The error names the file and what the system says of it."""
    path = tmp_path / "blindai.toml"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"# caf\xe9\n")
    if kind == "unreadable":
        if os.geteuid() == 0:
            pytest.skip("root reads every file")
        path.chmod(0)
    with pytest.raises(UsageError, match=r"blindai\.toml (cannot be read|is not UTF-8)"):
        load_settings(path, {}, {})
