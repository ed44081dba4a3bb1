"""The locked requirements: every file by hash, from no index in particular."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.repository.tree import ROOT, files, relative

LOCKS = ("runtime", "dev")
PIN = re.compile(
    r"^([a-z0-9][a-z0-9.-]*)==([^ ;\\]+)((?:.*\\\n)(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
    re.MULTILINE,
)
# Written in pieces, so that this file does not find itself.
REGISTRIES = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "npm" + "js.com",
    "deb." + "debian.org",
    "anaconda" + ".org",
    "opt/" + "pypi",
    "opt/" + "wheels",
)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_with_hashes(lock: str) -> None:
    """Each line of a lock is a pin with at least one hash, a hash or a comment; no option, no address."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")
    left = [line for line in PIN.sub("", text).splitlines() if line and not line.lstrip().startswith("#")]
    assert left == []
    assert _pins(lock)
    assert "://" not in text


def test_the_development_lock_holds_the_runtime_lock() -> None:
    """Tests run with the very versions that the demo and users run."""
    assert _pins("runtime") <= _pins("dev")


def test_the_locks_name_every_direct_dependency() -> None:
    """A dependency added to pyproject.toml without `make lock` is found."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    runtime = {name for name, _ in _pins("runtime")}
    dev = {name for name, _ in _pins("dev")}
    assert {_name(entry) for entry in project["dependencies"] + extras["server"]} <= runtime
    assert {_name(entry) for entry in extras["dev"]} <= dev
    assert "torch" not in dev


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the user's setting: no file of the repository decides it."""
    found = [
        f"{relative(path)}: {host}"
        for path in files()
        for host in REGISTRIES
        if host.encode() in path.read_bytes()
    ]
    assert found == []


@pytest.mark.parametrize("option", ["index-url", "find-links", "trusted-host"])
def test_no_build_file_names_an_index(option: str) -> None:
    """Neither a requirements file nor a script nor the project's settings choose an index."""
    places = [*files(ROOT / "requirements"), *files(ROOT / "scripts"), *files(ROOT / ".ci")]
    places += [ROOT / "Makefile", ROOT / "pyproject.toml"]
    found = [
        relative(path) for path in places if re.search(rf"(?<!no-emit-){option}", path.read_text("utf-8"))
    ]
    assert found == []


def _pins(lock: str) -> set[tuple[str, str]]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")
    return {(match[1], match[2]) for match in PIN.finditer(text)}


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()
