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


def relaxations(entry: Entry) -> tuple[Relaxation, ...]:
    """Return the relaxations in effect, whether by their names or by the keys that they stand for."""
    found, strict = {demand.key: demand for demand in entry.demands}, demanded.strict(entry.tee)
    return tuple(
        relaxation
        for relaxation in vendors.relaxations(entry.tee).values()
        if _grants(found, relaxation) and not _grants(strict, relaxation)
    )


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


def _of_an_entry(entry: Entry) -> Iterator[str]:
    place = f"[[accept]] {entry.number} ({entry.tee})"
    named = {demand.key for demand in entry.code}
    if "mr_signer" in named and "mr_enclave" not in named:
        yield f"{place}: no mr_enclave: whatever that signer signs next is accepted, unseen"
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
