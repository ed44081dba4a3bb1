"""Members of a message in JSON, each of the type that the protocol gives it, or RequestError (malformed)."""

from __future__ import annotations

from typing import Any

from blindai.errors import RequestCode, RequestError

MAX_TENSORS = 1024  # of one message


def objects(members: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise malformed(f'"{what}" must be a list of objects')
    if len(members) > MAX_TENSORS:
        raise malformed(f'"{what}" has more than {MAX_TENSORS} members')
    return members


def string(member: dict[str, Any], key: str, *, default: str | None = None) -> str:
    value = member.get(key, default)
    if not isinstance(value, str) or (default is None and not value):
        raise malformed(f'needs a "{key}" that is a string')
    return value


def parameters(member: dict[str, Any]) -> dict[str, Any]:
    parameters = member.get("parameters", {})
    if not isinstance(parameters, dict):
        raise malformed('"parameters" must be an object')
    return parameters


def flag(parameters: dict[str, Any], key: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise malformed(f"the parameter {key} must be true or false")
    return value


def refuse(parameters: dict[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if key in parameters:
            raise malformed(f"asks for {key}, which this server does not have")


def malformed(message: str) -> RequestError:
    return RequestError(RequestCode.MALFORMED, message)
