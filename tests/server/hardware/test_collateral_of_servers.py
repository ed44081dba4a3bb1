"""Servers whose vendor, or whose machine, does not stay as it was: what clients get meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from blindai.attestation.policy import Policy
from blindai.errors import AttestationError, Reason
from blindai.tee.simulated.snp_machine import SnpTcb
from blindai.testing import FakeSnp, Window
from tests import models
from tests.server.hardware import machines
from tests.server.hardware.serving import (
    MODEL,
    connected,
    eventually,
    first_met,
    health,
    serving,
    vendor,
)

# Serial number 0 is what makes a VCEK genuine.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

CHALLENGE = "/.well-known/blindai/attestation?nonce=" + "A" * 43
DAY = 24 * 3600
LONG, SHORT = Window(-DAY, 30 * DAY), Window(-DAY, 5)
# Pauses after failures are no longer than this.
QUICKLY = {"collateral_refresh_seconds": 1}


def test_a_restart_while_the_vendor_is_down(tmp_path: Path):
    """What was kept is stapled, clients accept it, health tells of the trouble until the vendor is back; and
    those who ask for collateral are not asked for models.
    """
    with vendor(machines.tdx()) as hardware:
        with serving(hardware, tmp_path) as server:
            policy = Policy.from_toml(first_met(server, hardware).text.replace("names =", "# names ="))
        hardware.vanish()
        with serving(hardware, tmp_path, **QUICKLY) as server:
            found = eventually(lambda: health(server), lambda found: found["collateral"]["problems"])
            assert (found["status"], found["collateral"]["status"]) == (200, "valid")
            with connected(server, hardware, policy) as client:
                client.upload_model(models.identity(), name=MODEL)
                assert client.predict(MODEL, [1.0])["y"].tolist() == [1.0]
            hardware.publish()
            eventually(lambda: health(server), lambda found: not found["collateral"]["problems"])


def test_collateral_that_ends_while_the_vendor_is_down(tmp_path: Path):
    """New clients are refused for that reason, and health says so; who has attested the server goes on. When
    the vendor publishes again, all is well by itself.
    """
    with vendor(machines.tdx()) as hardware, serving(hardware, tmp_path, **QUICKLY) as server:
        policy = Policy.from_toml(first_met(server, hardware).text)
        with connected(server, hardware, policy) as client:
            client.upload_model(models.identity(), name=MODEL)
            end_of_collateral(server, hardware)
            found = eventually(lambda: health(server), lambda found: found["status"] == 503)
            assert (found["ready"], found["evidence"]["status"]) == (False, "ok")
            assert found["collateral"]["status"] == "expired"
            assert found["collateral"]["problems"]
            with pytest.raises(AttestationError) as caught:
                connected(server, hardware, policy)
            assert caught.value.reason is Reason.COLLATERAL_EXPIRED
            assert client.predict(MODEL, [1.0])["y"].tolist() == [1.0]
            hardware.publish_again(LONG)
            eventually(lambda: health(server), lambda found: found["status"] == 200)
            with connected(server, hardware, policy) as new:
                assert new.predict(MODEL, [2.0])["y"].tolist() == [2.0]


def end_of_collateral(server, hardware):
    """Let the server have collateral that ends soon, and its vendor be gone."""
    while health(server)["collateral"]["expires"] > time.time() + DAY:
        hardware.publish_again(SHORT)
        time.sleep(0.5)
    hardware.vanish()


def test_a_start_with_nothing_and_new_firmware(tmp_path: Path):
    """Without collateral the server starts, and refuses challenges for now; when the vendor is back it needs
    nobody to become ready. When the host gets new firmware, so does the collateral.
    """
    hardware = machines.sev_guest(with_table=False, product="Genoa")
    with vendor(hardware):
        hardware.vanish()
        with serving(hardware, tmp_path, **QUICKLY) as server:
            found = health(server)
            assert (found["status"], found["collateral"]["status"]) == (503, "missing")
            assert found["collateral"]["problems"]
            reply = server.request("GET", CHALLENGE)
            assert (reply.status, reply.code) == (503, "attestation-unavailable")
            assert int(reply.headers["retry-after"]) > 0
            assert server.request("GET", "/v2/health/live").status == 200

            hardware.publish()
            eventually(lambda: health(server), lambda found: found["status"] == 200)
            met = first_met(server, hardware)
            assert met.verdict.accepted

            old, newer = hardware.tee, SnpTcb(10, 0, 24, 85)
            hardware.become(FakeSnp(product="Genoa", reported_tcb=newer, root=old.root))
            hardware.publish()
            with connected(server, hardware, Policy.from_toml(met.text)) as client:
                client.upload_model(models.identity(), name=MODEL)
                assert client.predict(MODEL, [1.0])["y"].tolist() == [1.0]
            assert first_met(server, hardware).claims.tcbs["reported_tcb"]["snp"] == newer.snp
