"""Variables in the environment that keep a server from starting (`server/environment.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from blindai.server.doctor.report import Check, Status
from blindai.server.environment import FORBIDDEN, FORBIDDEN_IN_PRODUCTION


def checks(environment: Mapping[str, str]) -> tuple[Check, ...]:
    """Return one check for each that is set, by name: its value may be a secret's place."""
    forbidden = {**FORBIDDEN, **FORBIDDEN_IN_PRODUCTION}
    found = tuple(
        Check(
            variable,
            Status.FAILED,
            f"set: {why}" + ("" if variable in FORBIDDEN else "; only a simulation starts with it"),
            f"start the server without: env -u {variable}",
        )
        for variable, why in forbidden.items()
        if environment.get(variable)
    )
    return found or (Check("variables", Status.OK, f"none of {len(forbidden)} forbidden ones is set"),)
