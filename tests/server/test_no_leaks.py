"""Nothing that callers send is found anywhere but in answers to them: secrets are planted, and looked for.

The places: the log in both formats, standard output, metrics, telemetry, the store, every folder that the
process might write to, what /proc shows of it, crashes. Another secret, the control, lies in each of these
places for real; a search that does not find it there is blind.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from blindai.errors import RequestCode
from blindai.wire import base64url
from tests.canaries import Canaries, leaks, process
from tests.server.provocations import half_upload, provoke, provoke_narrow
from tests.server.provoker import NARROW, TOLD, secret_model
from tests.server.watched import SHARED_FOLDERS, Endpoint, Watched
from tests.serving import Reply, running_server, server_environment

# Only a key that Gramine's kernel gives has to be allowed, and there is none here.
OUT_OF_REACH = {RequestCode.SEALING_NOT_ACCEPTED}


@dataclass
class Run:
    watched: Watched
    codes: set[str]
    replies: list[Reply]


@pytest.fixture(scope="module", params=["text", "json"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Everything provoked, and ended amid requests, in one format of the log at its most talkative."""
    watched = Watched(tmp_path_factory.mktemp("watched"))
    with Endpoint(watched.control) as endpoint:
        told = {"log_format": request.param, "telemetry_endpoint": endpoint.url}
        with watched.serving(**told) as server:
            it = watched.provoker(server)
            provoke(it, watched.store)
            watched.use_control(it)
            endpoint.wait_for_another()
            watched.look(server)
            with half_upload(it):
                assert server.stop() == 0
            watched.look_again(server)
        with watched.serving(**{**NARROW, **told}) as server:
            narrow = watched.provoker(server)
            provoke_narrow(narrow)
            watched.look(server)
            assert server.stop(signal.SIGINT) == 0
            watched.look_again(server)
        watched.places.append(("telemetry", b"\n".join(endpoint.received)))
    return Run(watched, it.codes | narrow.codes, [*it.replies, *narrow.replies])


def test_every_error_was_provoked(run: Run):
    """Each stable word for an error was said at least once, so that no path is left unlooked at."""
    assert {code.value for code in set(RequestCode) - OUT_OF_REACH} == run.codes


def test_nothing_leaks(run: Run):
    """No secret is in the log, in a metric, in telemetry, in a file, or in what the kernel shows."""
    assert run.watched.leaked == {}


def test_no_error_repeats_what_was_sent(run: Run):
    """Neither the body nor a header of a refusal has anything of the request that caused it."""
    secrets = run.watched.secrets
    for reply in run.replies:
        if reply.status >= 400:
            repeated = secrets.found_in(b"\n".join(said(reply)))
            assert not {what for what in repeated if not what.startswith(TOLD)}, reply


def said(reply: Reply) -> Iterator[bytes]:
    """All of a reply, but for the model's name in the receipt: that is what the receipt is about."""
    yield reply.body
    for name, value in reply.headers.items():
        if name == "blindai-receipt":
            claims = json.loads(base64url.decode(value.split(".")[1]))
            yield json.dumps({claim: claims[claim] for claim in claims if claim != "model"}).encode()
        else:
            yield f"{name}: {value}".encode()


def test_the_search_sees(run: Run):
    """The control is found wherever it is, and answers hold what callers sent: the search is not blind."""
    controls = leaks(run.watched.controls, run.watched.places)
    expected = {"stdout", "log", "metrics", "telemetry", "running: cmdline", "running: environ"}
    expected |= {"running: open files"}
    expected |= {f"{when}: {run.watched.store / 'control.txt'}" for when in ("running", "ended")}
    expected |= {f"{when}: {folder}" for when in ("running", "ended") for folder in SHARED_FOLDERS}
    for folder in (run.watched.cwd, *run.watched.homes.values()):
        expected |= {f"{when}: {Path(folder) / 'control.txt'}" for when in ("running", "ended")}
    assert expected <= set(controls)
    answers = [run.watched.secrets.found_in(reply.body) for reply in run.replies if reply.status < 300]
    assert any(what.startswith("id ") for found in answers for what in found)
    assert any(what.startswith("model name") for found in answers for what in found)


def test_names_of_threads_are_searched():
    """A process that is called after a secret is found: the kernel shows fifteen characters of it."""
    planted = Canaries()
    named = planted.text("name")[:15]
    rename = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0); print(flush=True)"
    )
    command = [sys.executable, "-c", f"{rename}; sys.stdin.read()", named]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        assert "threads" in leaks(planted, process(child.pid))
        child.stdin.close()


def sealed_in(folder: Path) -> dict[str, str]:
    return {"store_path": str(folder / "store"), "store_key": f"file:{folder / 'sealing.key'}"}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Canaries, Path]:
    """Two models that a server has stored."""
    planted, folder = Canaries(), tmp_path_factory.mktemp("stored")
    with running_server(**sealed_in(folder)) as server:
        for _ in range(2):
            model = secret_model(planted, "a model")
            assert server.upload(planted.text("model name"), model).status == 201
    return planted, folder


@pytest.mark.parametrize("harm", ["removed", "cut short", "grown", "exchanged"])
def test_a_store_that_does_not_open_names_no_model(harm: str, stored: tuple[Canaries, Path], tmp_path: Path):
    """A host that harms one file after another and starts the server must not learn the models' names."""
    planted, folder = stored
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    store = tmp_path / "store"
    one, other = sorted(store.glob("*.model"))
    match harm:
        case "removed":
            one.unlink()
        case "cut short":
            one.write_bytes(one.read_bytes()[:-1])
        case "grown":
            one.write_bytes(one.read_bytes() + b"x")
        case "exchanged":
            content = one.read_bytes()
            one.write_bytes(other.read_bytes())
            other.write_bytes(content)
    chosen = [f"{key.replace('_', '.')}={value}" for key, value in sealed_in(tmp_path).items()]
    options = [word for setting in chosen for word in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-m", "blindai", "serve", "--simulation", "--port", "0", *options],
        env=server_environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"error: " in done.stderr
    assert planted.found_in(done.stderr) == set()


def test_what_asyncio_says_of_a_connection_is_no_content():
    """Its message about a callback that failed quotes the arguments, which may be a request."""
    planted = Canaries()
    text = planted.text("argument")
    program = f"""
        import asyncio, sys
        from blindai.server.watch.crashes import log_without_contents
        from blindai.server.watch.logs import configure
        configure("text", "debug")
        def fail(argument): raise ValueError(argument)
        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(log_without_contents)
            loop.call_soon(fail, {text!r})
            await asyncio.sleep(0)
        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, env=server_environment(), capture_output=True, timeout=60, check=True)
    assert b"ValueError" in done.stderr
    assert planted.found_in(done.stderr) == set()
