"""Simulated machines (Intel TDX, AMD SEV-SNP), each with a throw-away vendor: byte-exact, worthless as proof.

Simulation is a trust anchor, not a mode of the verifier: what is minted here passes the production verifier
under its own root, made on the spot, and under no other.
"""

from __future__ import annotations

from blindai.tee.simulated.attester import SimulatedTdx
from blindai.tee.simulated.platform import EXPIRED, NOT_YET_VALID, Platform, Window
from blindai.tee.simulated.publication import Published, Publisher
from blindai.tee.simulated.snp import SimulatedSnp

__all__ = [
    "EXPIRED",
    "NOT_YET_VALID",
    "Platform",
    "Published",
    "Publisher",
    "SimulatedSnp",
    "SimulatedTdx",
    "Window",
]
