"""The main job, for real: serve, verify, upload, predict; then three attacks that must fail.

Run it with `make demo`. Everything is a simulation: the code path is the real one, the protection is not.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import blindai
from blindai.channel import answer
from blindai.testing import CapturingPeer, http_response, make_keyset
from blindai.wire import base64url

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "digits"))

from draw import draw  # noqa: E402

SHOWN = 4


def main() -> int:
    """Run the demo; the exit code says whether everything went as it must."""
    warnings.simplefilter("ignore", blindai.SimulationWarning)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, running_server() as server:
        root, policy = Path(folder, "root.pem"), Path(folder, "policy.toml")
        root.write_text(server["root_pem"])
        policy.write_text(server["policy"])
        address = f"localhost:{server['port']}"

        say("2. connect: verify the server before anything is sent")
        with blindai.connect(address, policy=policy, simulation=root) as client:
            print(client.verdict)
            classify(client)
        refused = attacks(address, policy.read_text(), root, folder)
    say(f"done in {time.monotonic() - started:.1f} s; refused {refused} of 3 attacks")
    return 0 if refused == 3 else 1


@contextlib.contextmanager
def running_server() -> Iterator[dict[str, Any]]:
    """Run `blindai serve --simulation` as another process and return what it announced."""
    say("1. serve: another process, a simulated TEE, any free port")
    command = [sys.executable, "-m", "blindai", "serve", "--simulation", "--port", "0", "--json"]
    print("  $", "blindai", *command[3:])
    with (
        tempfile.TemporaryFile("w+") as talk,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=talk, text=True) as process,
    ):
        try:
            announced = process.stdout.readline() if process.stdout else ""
            if not announced:
                talk.seek(0)
                raise SystemExit(f"the server did not start:\n{talk.read()}")
            yield json.loads(announced)
        finally:
            process.terminate()


def classify(client: blindai.Client) -> None:
    """Upload the model and classify digits that it was not trained on."""
    say("3. upload: the model's owner gives it to the verified server")
    record = client.upload_model(HERE / "digits" / "digits.onnx", progress=True)
    print(f"  {record.name}: {record.size_bytes} bytes, sha256 {record.sha256[:16]}…")

    say("4. predict: real handwritten digits, held back from training")
    with np.load(HERE / "digits" / "held_back.npz") as data:
        images, labels = data["images"], data["labels"]
    guesses = client.predict("digits", {"image": images.astype(np.float32)})["label"]
    print(draw(images[:SHOWN], [f"predicted {guess}" for guess in guesses[:SHOWN]]))
    right = int((guesses == labels).sum())
    print(f"  {right} of {len(labels)} right: accuracy {right / len(labels):.1%}")


def attacks(address: str, policy: str, root: Path, folder: str) -> int:
    """Mount three attacks and return how many were refused."""
    say("5. attacks: each must be refused before one byte of a request is sent")
    other_code = Path(folder, "other.toml")
    other_code.write_text(_with_another_measurement(policy))
    good = Path(folder, "policy.toml")
    relayed = genuine_answers(address)

    def man_in_the_middle(nonce: bytes) -> bytes:
        return http_response(relayed(nonce))

    recorded = relayed(bytes(32))

    def replay(_: bytes) -> bytes:
        return http_response(_with_key(recorded, thief.spki_sha256))

    refused = refusal("a policy that names other code", address, other_code, root)
    with CapturingPeer(man_in_the_middle) as middle:
        where = f"localhost:{middle.port}"
        refused += refusal("a man in the middle who relays genuine, fresh evidence", where, good, root)
    print(f"     it received {len(middle.request_bytes)} bytes of the request")
    with CapturingPeer(replay) as thief:
        where = f"localhost:{thief.port}"
        refused += refusal("recorded evidence, its keyset rewritten for another key", where, good, root)
    print(f"     it received {len(thief.request_bytes)} bytes of the request")
    return refused


def refusal(what: str, address: str, policy: Path, root: Path) -> int:
    """Try to connect and say what happened; 1 if it was refused."""
    print(f"  · {what}")
    try:
        with blindai.connect(address, policy=policy, simulation=root, api_key="secret"):
            print("     ACCEPTED: this must not happen")
            return 0
    except blindai.AttestationError as error:
        print(f"     refused: {error.reason}")
        return 1


def genuine_answers(address: str) -> Callable[[bytes], bytes]:
    """Return what an attacker has: the real server's evidence about any nonce, over a channel of its own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])

    def fetch(nonce: bytes) -> bytes:
        url = f"https://{address}{answer.target(nonce)}"
        with urllib.request.urlopen(url, context=context) as reply:  # noqa: S310  our own loopback server
            return bytes(reply.read())

    return fetch


def _with_another_measurement(policy: str) -> str:
    lines = [f'rtmr2 = "{"00" * 48}"' if line.startswith("rtmr2") else line for line in policy.splitlines()]
    return "\n".join(lines)


def _with_key(recorded: bytes, spki_sha256: bytes) -> bytes:
    """Rewrite the keyset of an answer for another TLS key; the signed report data stay what they were."""
    value = json.loads(recorded)
    keyset = make_keyset(tls_spki_sha256=spki_sha256, now=int(time.time()))
    value["keyset"] = base64url.encode(keyset)
    return json.dumps(value).encode()


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
