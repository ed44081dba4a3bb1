"""Keys that are renewed every second on a kernel that is busy, and whose entries others write into."""

from __future__ import annotations

import contextlib
import errno
import itertools
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

from blindai.attestation.policy import Policy
from blindai.testing import FakeTsm
from tests import models
from tests.server.hardware import machines
from tests.server.hardware.serving import MODEL, connected, first_met, serving, vendor
from tests.serving import RunningServer

KEYSETS = 4
# As the kernel fails while another process is served; 0: this once it does not.
BUSY = {"outblob": (errno.EBUSY, 0, 0), "remove": (0, 0, errno.EBUSY)}


def test_rotation_on_a_busy_kernel(tmp_path: Path):
    """No request fails, no client waits, no evidence is about another's data, and no entry stays behind."""
    hardware = machines.tdx()
    with vendor(hardware):
        with serving(hardware, tmp_path, keyset_rotation_seconds=1, metrics_address="127.0.0.1:0") as server:
            policy = Policy.from_toml(first_met(server, hardware).text)
            hardware.fake.errors = {name: itertools.cycle(errors) for name, errors in BUSY.items()}
            with racing(hardware.fake) as races, connected(server, hardware, policy) as client:
                client.upload_model(models.identity(), name=MODEL)
                keys = set()
                while len(keys) < KEYSETS or len(races) < KEYSETS:
                    assert client.predict(MODEL, [1.0])["y"].tolist() == [1.0]
                    time.sleep(0.05)
                    keys.add(ssl.get_server_certificate(("127.0.0.1", server.port)))
            assert b"blindai_quote_failures_total 0" in metrics(server)
            hardware.fake.errors = {}
            hardware.fake._failures.clear()
            first_met(server, hardware)  # removes what could not be removed before
        assert hardware.fake.entries == {}


def metrics(server: RunningServer) -> bytes:
    with urlopen(f"http://{server.ready['metrics']}/metrics", timeout=30) as page:
        content: bytes = page.read()
    return content


@contextlib.contextmanager
def racing(fake: FakeTsm) -> Iterator[list[str]]:
    """Let another process write into a server's entry now and then, until the block ends; yield when it did.

    It writes before a report is made, or after.
    """
    written: list[str] = []
    ended = threading.Event()

    def race() -> None:
        for moment in itertools.cycle(("raced", "raced_after")):
            setattr(fake, moment, 1)
            if ended.wait(0.5):
                return
            if not getattr(fake, moment):
                written.append(moment)

    racer = threading.Thread(target=race)
    racer.start()
    try:
        yield written
    finally:
        ended.set()
        racer.join(5)
