"""`blindai store`: what an operator does with a store whose server is stopped."""

from __future__ import annotations

import json

import pytest

from blindai.cli import store as family
from blindai.cli.parser import Parser
from blindai.errors import StoreError, StoreFault, UsageError
from blindai.store.store import Store
from tests.store.shelf import KEY, OTHER_KEY, blob_files, content, contents, files, put


@pytest.fixture
def run(capsys):
    """Run `blindai store ARGUMENTS`; returns stdout and stderr."""

    def call(*arguments) -> tuple[str, str]:
        parser = Parser(prog="blindai")
        family.add(parser.add_subparsers(required=True))
        parsed = parser.parse_args(["store", *map(str, arguments)])
        capsys.readouterr()
        parsed.run(parsed)
        return tuple(capsys.readouterr())

    return call


@pytest.fixture
def key(tmp_path):
    return key_file(tmp_path / "key", KEY)


@pytest.fixture
def new_key(tmp_path):
    return key_file(tmp_path / "new-key", OTHER_KEY)


@pytest.fixture
def filled(path):
    with Store.open(path, KEY) as store:
        put(store, "alice/a", content("a"))
        put(store, "b", content("b", 7000))
    return path


def key_file(path, key) -> str:
    path.write_bytes(key)
    path.chmod(0o600)
    return f"file:{path}"


def test_show_lists_what_is_stored(run, filled, key):
    """Names, sizes and visibility; as JSON too."""
    out, _ = run("show", filled, "--key", key)
    lines = [line.split()[:3] for line in out.splitlines()]
    assert lines == [
        ["NAME", "BYTES", "VISIBILITY"],
        ["b", "7000", "private"],
        ["alice/a", "5000", "private"],
    ]
    out, _ = run("show", filled, "--key", key, "--json")
    shown = json.loads(out)
    assert [model["name"] for model in shown["models"]] == ["b", "alice/a"]
    assert shown["revision"] == 3


def test_an_empty_store_is_said_to_be_empty(run, path, key):
    """Nothing on stdout."""
    Store.open(path, KEY).close()
    for action in ("show", "check"):
        out, err = run(action, path, "--key", key)
        assert (out, err) == ("", "the store is empty\n")


@pytest.mark.parametrize("action", ["show", "check", "repair", "rotate"])
def test_no_store_is_made_by_looking_at_one(run, tmp_path, key, action):
    """A path with a slip in it is an error, and so is a key that is not there."""
    with pytest.raises(UsageError, match="cannot look at"):
        run(action, tmp_path / "nothing", "--key", key)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no store at"):
        run(action, tmp_path / "empty", "--key", key)
    assert list((tmp_path / "empty").iterdir()) == []


def test_no_key_is_made_by_looking_at_a_store(run, filled, tmp_path):
    """A key that was made now would open nothing."""
    with pytest.raises(UsageError, match="no key at"):
        run("show", filled, "--key", f"file:{tmp_path / 'slip'}")
    assert not (tmp_path / "slip").exists()
    with pytest.raises(UsageError, match="ends with its server"):
        run("show", filled, "--key", "memory")


def test_the_wrong_key_is_refused(run, filled, new_key):
    """By name, and nothing is changed."""
    before = files(filled)
    for action in ("show", "check", "repair", "rotate"):
        with pytest.raises(StoreError) as caught:
            run(action, filled, "--key", new_key)
        assert caught.value.fault == StoreFault.WRONG_KEY
    assert files(filled) == before


def test_check_finds_what_opening_does_not(run, filled, key):
    """A damaged chunk; the others are said to be well, and the command fails."""
    out, _ = run("check", filled, "--key", key)
    assert [line.split()[-1] for line in out.splitlines()] == ["STATE", "ok", "ok"]
    file = max(blob_files(filled), key=lambda file: file.stat().st_size)
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    Store.open(filled, KEY).close()
    with pytest.raises(StoreError) as caught:
        run("check", filled, "--key", key, "--json")
    assert caught.value.fault == StoreFault.DAMAGED


def test_repair_gives_up_what_is_lost(run, filled, key):
    """The store opens again, and the file is kept aside."""
    file = max(blob_files(filled), key=lambda file: file.stat().st_size)
    file.write_bytes(file.read_bytes()[:-1])
    out, err = run("repair", filled, "--key", key, "--json")
    assert [(found["name"], found["fault"]) for found in json.loads(out)] == [
        ("b", "truncated"),
        ("alice/a", None),
    ]
    assert err == "given up: 1, kept: 1\n"
    with Store.open(filled, KEY) as store:
        assert contents(store) == {"alice/a": content("a")}
    assert file.with_name(file.name + ".refused").exists()


def test_repair_of_a_store_that_is_well_changes_nothing(run, filled, key):
    """No file is touched."""
    before = files(filled)
    _, err = run("repair", filled, "--key", key)
    assert err == "given up: 0, kept: 2\n"
    assert files(filled) == before


def test_rotate_moves_a_store_to_another_key(run, filled, key, new_key):
    """The old key opens nothing afterwards; the same command again goes on where it was."""
    before = files(filled)
    _, err = run("rotate", filled, "--key", key)
    assert err == "models sealed under new keys: 2\n"
    out, _ = run("rotate", filled, "--key", key, "--new-key", new_key, "--json")
    assert json.loads(out) == {"rotated": 2}
    assert not any(files(filled)[name] == before[name] for name in before)
    with Store.open(filled, OTHER_KEY) as store:
        assert contents(store) == {"alice/a": content("a"), "b": content("b", 7000)}
    _, err = run("rotate", filled, "--key", key, "--new-key", new_key)
    assert err.startswith("the store is already under the new key")


def test_a_rotation_makes_the_new_key(run, filled, key, tmp_path):
    """A key file that is not there is made, as the server would."""
    run("rotate", filled, "--key", key, "--new-key", f"file:{tmp_path / 'made'}")
    with Store.open(filled, (tmp_path / "made").read_bytes()) as store:
        assert len(store.models()) == 2


def test_a_store_in_use_is_left_alone(run, filled, key):
    """While its server runs."""
    with Store.open(filled, KEY):
        for action in ("show", "check", "repair", "rotate"):
            with pytest.raises(StoreError) as caught:
                run(action, filled, "--key", key)
            assert caught.value.fault == StoreFault.IN_USE


@pytest.mark.parametrize(
    ("old", "new"), [("snp", "file:/k"), ("gramine", "gramine-mrsigner"), ("snp", "vtpm:/blob")]
)
def test_models_are_not_put_under_a_weaker_kind_of_key(run, filled, old, new):
    """Owners who saw a hardware key in the keyset do not find their models under a weaker one."""
    with pytest.raises(UsageError, match="protects them less"):
        run("rotate", filled, "--key", old, "--new-key", new)
