"""What a policy gives up: what is legal to write and weaker than it need be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from blindai.attestation import vendors
from blindai.attestation.policy import Policy
from blindai.attestation.relaxation import Relaxation
from blindai.attestation.times import shown
from blindai.client.policies import demanded
from blindai.client.policies.demanded import Demand, Entry, Order, Tendency

# Who signed, the code that could be named instead, and what is accepted where it is not.
_SIGNERS = {
    "mr_signer": ("mr_enclave", "anything that this signer signs"),
    "pcr8": ("pcr0", "anything that this signer signs with this pcr1 and pcr2"),
}
# What this version's servers state of each setting; docs/policy.md has the same table.
STATED: Mapping[str, tuple[object, ...]] = {
    "isolation": ("thread",),
    "sandbox": ("none",),
    "model_upload": ("open", "owners", "off"),
    "sealing": tuple(
        (name,) for name in ("memory", "file", "gramine-mrenclave", "gramine-mrsigner", "snp-derived", "vtpm")
    ),
    "telemetry": ("none", "usage"),
}
_ADVISORY = "INTEL-"


def relaxations(entry: Entry) -> tuple[Relaxation, ...]:
    """Return the relaxations in effect, whether by their names or by the keys that they stand for."""
    found, strict = {demand.key: demand for demand in entry.demands}, demanded.strict(entry.tee)
    return tuple(
        relaxation
        for relaxation in vendors.relaxations(entry.tee).values()
        if _grants(found, relaxation) and not _grants(strict, relaxation)
    )


def by_signer(entry: Entry) -> tuple[str, str] | None:
    """Return (the measurement that is not named, what is accepted) where an entry names a signer instead."""
    named = {demand.key for demand in entry.code}
    return next((it for signer, it in _SIGNERS.items() if signer in named and it[0] not in named), None)


def warnings(policy: Policy, *, now: int) -> tuple[str, ...]:
    """Return a sentence for each weakness: of the whole policy, then of each entry."""
    entries = demanded.of_entries(policy)
    return (*_of_the_whole(policy, now), *(text for entry in entries for text in _of_an_entry(entry)))


def _of_the_whole(policy: Policy, now: int) -> Iterator[str]:
    if policy.expires is not None and policy.expires <= now:
        yield f"expired {shown(policy.expires)}: the policy accepts nothing any more"
    if policy.expires is None:
        yield "no `expires`: the policy accepts this code for ever, also after a flaw in it is known"
    if not policy.operator_spki_sha256:
        yield "no [operator]: whoever runs this code on such hardware is accepted, not only your operator"
    if not policy.names:
        yield "no `names`: whatever name is dialled is the name demanded, a mistyped one too"
    for key, value in sorted((policy.require or {}).items()):
        if (tuple(value) if isinstance(value, list) else value) not in STATED.get(key, ()):
            yield f"[require] {key}: no server of this version states that value: none is accepted"


def _of_an_entry(entry: Entry) -> Iterator[str]:
    place = f"[[accept]] {entry.number} ({entry.tee})"
    named = {demand.key for demand in entry.code}
    if signed := by_signer(entry):
        missing, accepted = signed
        yield f"{place}: no {missing}: {accepted} is accepted, unseen, and what it signs next too"
    if entry.tee == "tdx" and not all({name, f"{name}_events"} & named for name in ("rtmr1", "rtmr2")):
        yield f"{place}: rtmr1 or rtmr2 is zero (nothing was measured): this names a firmware alone"
    floors = [demand.value for demand in entry.rest if demand.key.startswith("min_tcb.")]
    if floors and not any(floors):
        any_tcb = vendors.relaxations(entry.tee)["any-tcb"]
        yield f"{place}: min_tcb is zero throughout, which is {any_tcb.name}: {any_tcb.gives_up}"
    yield from _values(entry, place)
    covered = defaultdict[str, set[str]](set)
    for relaxation in relaxations(entry):
        yield f"{place}: relaxed by {relaxation.name}: {relaxation.gives_up}"
        for key, value in relaxation.settings.items():
            covered[key] |= set(value) if isinstance(value, list) else {key}
    strict = demanded.strict(entry.tee)
    for demand in entry.rest:
        if (usual := strict.get(demand.key)) and _looser(usual, demand, covered[demand.key]):
            words = demanded.words(demand)
            yield f"{place}: {demand.key}: {words} accepts more than the strict {demanded.words(usual)}"


def _values(entry: Entry, place: str) -> Iterator[str]:
    """What no order between values shows: a name that nobody gives, attributes other than the safe ones."""
    for demand in entry.rest:
        if demand.key == "td_attributes" and not demand.default:
            usual = demanded.words(demanded.strict(entry.tee)[demand.key])
            yield f"{place}: td_attributes: {demanded.words(demand)} is not the strict {usual}"
        if demand.key == "allow_advisories" and isinstance(demand.value, frozenset):
            for name in sorted(name for name in demand.value if not name.startswith(_ADVISORY)):
                said = demanded.one_line(name)
                yield f"{place}: allow_advisories: Intel gives no advisory the name {said}: {_ADVISORY}SA-..."


def _looser(usual: Demand, found: Demand, covered: set[str]) -> bool:
    """Whether something is accepted that neither the strict default nor a named relaxation accepts."""
    if isinstance(found.value, frozenset) and isinstance(usual.value, frozenset):
        return bool(found.value - usual.value - covered)
    return not covered and demanded.compare(usual, found) is Tendency.LOOSER


def _grants(demands: Mapping[str, Demand], relaxation: Relaxation) -> bool:
    return all(_granted(demands.get(key), key, value) for key, value in relaxation.settings.items())


def _granted(found: Demand | None, key: str, value: object) -> bool:
    wanted = demanded.demand(key, value)
    if found is None or found.value is None:
        return wanted.order in (Order.LEAST, Order.MOST)
    return demanded.compare(wanted, found) in (Tendency.SAME, Tendency.LOOSER)
