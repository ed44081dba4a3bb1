"""A policy in words, claim by claim: also what is demanded though nobody wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from blindai.attestation.policy import Policy
from blindai.attestation.types import MAX_KEYSET_LIFE_SECONDS
from blindai.client.policies import demanded, relaxed
from blindai.client.policies.demanded import Demand, Entry

ALWAYS = (
    "a chain of certificates to a root of the vendor that this version pins, each of them valid now",
    "every signature: of the evidence, of the certificates, of the vendor's lists",
    "the hardware signed this server's keys and a nonce that this client made a moment ago",
    "the key that ends the connection is among those keys",
    f"those keys are valid now, and for at most {MAX_KEYSET_LIFE_SECONDS // 3600} hours",
    "no debug mode, nothing known to be revoked, no older vendor's data than this client saw before",
)
_MEANINGS = {
    "expires": "until then; afterwards the policy accepts nothing",
    "names": "must be among the names in the server's keyset",
    "operator.spki_sha256": "must have issued the certificate of the connection",
    "models.sha256": "must be the model that answers",
    "boot": "how kernel, initrd and command line come to be measured",
    "tcb_status": "the vendor's word for how up to date the platform is",
    "allow_advisories": "security advisories that may apply to the platform",
    "min_tcb_evaluation": "least number of the vendor's evaluation that judged the platform",
    "allow_dynamic_platform": "platforms to which packages can be added",
    "allow_cached_keys": "platforms whose keys the vendor keeps a copy of",
    "allow_smt": "two threads share a core, and its secrets may leak from one to the other",
}
_UNSAID = {
    "expires": "never: the policy accepts for ever",
    "operator.spki_sha256": "not demanded: whoever runs this code is accepted",
    "models.sha256": "not demanded: any model may answer",
}


def text(policy: Policy) -> str:
    """Return the policy as people read it."""
    return "\n".join(_lines(policy))


def summary(policy: Policy, *, now: int) -> tuple[str, ...]:
    """Return one line for each entry: what it will accept, or would if the policy had not expired."""
    word = "would accept" if policy.expires is not None and policy.expires <= now else "accepts"
    return tuple(
        f"{word} {entry.tee} with {_code(entry)}{_relaxed(entry)}" for entry in demanded.of_entries(policy)
    )


def to_json(policy: Policy) -> dict[str, Any]:
    """Return the demands, each with its value and whether it holds by default."""
    return {
        "sha256": policy.sha256,
        "demands": _json(demanded.of_policy(policy)),
        "accept": [
            {
                "tee": entry.tee,
                "code": _json(entry.code),
                "demands": _json(entry.rest),
                "relaxations": [
                    {"name": relaxation.name, "gives_up": relaxation.gives_up}
                    for relaxation in relaxed.relaxations(entry)
                ],
            }
            for entry in demanded.of_entries(policy)
        ],
        "always": list(ALWAYS),
    }


def _lines(policy: Policy) -> Iterator[str]:
    yield f"policy sha256:{policy.sha256}"
    yield "demanded of every server:"
    yield from (_line(demand) for demand in demanded.of_policy(policy))
    yield "and any one of:"
    for entry in demanded.of_entries(policy):
        _, code = relaxed.by_signer(entry) or ("", "exactly this code")
        yield f"{entry.number}. {entry.tee} that runs {code}:"
        yield from (f"  {_line(demand)}" for demand in entry.code)
        yield "   on a platform with:"
        yield from (f"  {_line(demand)}" for demand in entry.rest)
        for relaxation in relaxed.relaxations(entry):
            yield f"   relaxed by {relaxation.name}: {relaxation.gives_up}"
    yield "always, and not to be switched off:"
    yield from (f"  {sentence}" for sentence in ALWAYS)


def _line(demand: Demand) -> str:
    said = demanded.words(demand)
    if demand.value is None:
        said = _UNSAID.get(demand.key, said)
    elif meaning := _MEANINGS.get(demand.key):
        said = f"{said} ({meaning})"
    default = " [default]" if demand.default else ""
    return f"  {demanded.one_line(demand.key)}: {said}{default}"


def _code(entry: Entry) -> str:
    if not entry.code:
        return "any code"
    return ", ".join(
        f"{demanded.one_line(demand.key)} {_short(demanded.words(demand))}" for demand in entry.code
    )


def _short(word: str) -> str:
    return word if len(word) <= 16 else f"{word[:16]}…"


def _relaxed(entry: Entry) -> str:
    names = [relaxation.name for relaxation in relaxed.relaxations(entry)]
    return f"; relaxed by {', '.join(names)}" if names else ""


def _json(demands: tuple[Demand, ...]) -> list[dict[str, Any]]:
    return [
        {"claim": demand.key, "value": demanded.json_value(demand), "default": demand.default}
        for demand in demands
    ]
