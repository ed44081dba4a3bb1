"""Every role, every relation to a model, every action: against a table written by hand."""

from __future__ import annotations

import dataclasses

import pytest

from blindai.server.callers.access import Access, Action, allows, belongs
from blindai.server.callers.caller import ANONYMOUS, ANYBODY, NO_QUOTA, Caller, Role
from blindai.wire.access import Visibility

MINE, OTHERS, THIRD = "a" * 64, "b" * 64, "c" * 64

NOTHING = ""
USE = "see describe predict"
ORDER = "see delete load"
USE_AND_ORDER = "see describe predict delete load"
ALL = "see describe predict upload delete share load"

PRIVATE = (Visibility.PRIVATE, ())
SHARED = (Visibility.SHARED, (THIRD, MINE))
SHARED_WITH_OTHERS = (Visibility.SHARED, (THIRD,))
LEFT_OVER = (Visibility.PRIVATE, (MINE,))  # shared once, and private again
PUBLIC = (Visibility.PUBLIC, ())

# The callers: alice's people, those without a namespace, and those without a key.
OWNER = Caller("alice", Role.OWNER, "alice", MINE, NO_QUOTA)
USER = Caller("alice-app", Role.USER, "alice", MINE, NO_QUOTA)
ADMIN = Caller("root", Role.ADMIN, "", MINE, NO_QUOTA)
ADMIN_ALICE = Caller("alice-root", Role.ADMIN, "alice", MINE, NO_QUOTA)
HOMELESS_OWNER = Caller("token", Role.OWNER, "", MINE, NO_QUOTA)
HOMELESS_USER = Caller("token", Role.USER, "", MINE, NO_QUOTA)
CALLERS = (OWNER, USER, ADMIN, ADMIN_ALICE, HOMELESS_OWNER, HOMELESS_USER, ANONYMOUS, ANYBODY)

# In the order of CALLERS; for private, left over, shared with me, shared with others, public.
TABLE = {
    # alice's namespace, bound to nobody yet or to this key among others
    ("alice", "mine"): (
        (ALL, ALL, ALL, ALL, ALL),
        (USE, USE, USE, USE, USE),
        (ORDER, ORDER, USE_AND_ORDER, ORDER, USE_AND_ORDER),
        (ALL, ALL, ALL, ALL, ALL),
        (NOTHING, NOTHING, USE, NOTHING, USE),
        (NOTHING, NOTHING, USE, NOTHING, USE),
        (NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
        (NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
    ),
    # alice's namespace, bound to another key: the settings say alice, the sealed store does not
    ("alice", "others"): (
        (NOTHING, NOTHING, USE, NOTHING, USE),
        (NOTHING, NOTHING, USE, NOTHING, USE),
        (ORDER, ORDER, USE_AND_ORDER, ORDER, USE_AND_ORDER),
        (ORDER, ORDER, USE_AND_ORDER, ORDER, USE_AND_ORDER),
        (NOTHING, NOTHING, USE, NOTHING, USE),
        (NOTHING, NOTHING, USE, NOTHING, USE),
        (NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
        (NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
    ),
    # the server's own shelf, which is bound to nobody
    ("", "mine"): (
        (NOTHING, NOTHING, USE, NOTHING, USE),
        (NOTHING, NOTHING, USE, NOTHING, USE),
        (ALL, ALL, ALL, ALL, ALL),
        (ORDER, ORDER, USE_AND_ORDER, ORDER, USE_AND_ORDER),
        (NOTHING, NOTHING, USE, NOTHING, USE),
        (NOTHING, NOTHING, USE, NOTHING, USE),
        (ALL, ALL, ALL, ALL, ALL),
        (NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
    ),
}
TABLE["bob", "others"] = TABLE["bob", "nobody"] = TABLE["bob", "mine"] = TABLE["alice", "others"]
TABLE["alice", "nobody"] = TABLE["alice", "mine"]
TABLE["", "nobody"] = TABLE["", "mine"]

BOUND = {"nobody": (), "mine": (THIRD, MINE), "others": (THIRD, OTHERS)}
VISIBILITIES = (PRIVATE, LEFT_OVER, SHARED, SHARED_WITH_OTHERS, PUBLIC)


@pytest.mark.parametrize(("namespace", "bound"), [key for key in TABLE if key != ("", "mine")])
def test_the_table(namespace, bound):
    """Each caller may do exactly what the table says to each kind of model in each kind of namespace."""
    found = tuple(
        tuple(
            " ".join(
                action.name.lower()
                for action in Action
                if allows(caller, action, Access(namespace, visibility, shared, BOUND[bound]))
            )
            for visibility, shared in VISIBILITIES
        )
        for caller in CALLERS
    )
    order = {action.name.lower(): i for i, action in enumerate(Action)}
    expected = tuple(
        tuple(" ".join(sorted(cell.split(), key=order.__getitem__)) for cell in row)
        for row in TABLE[namespace, bound]
    )
    assert found == expected


def test_a_slow_restatement_agrees():
    """Said another way, action by action, the rules come to the same for every combination there is."""
    callers = [
        *(
            Caller("x", role, ns, key, NO_QUOTA)
            for role in Role
            for ns in ("", "alice")
            for key in (MINE, OTHERS)
        ),
        ANONYMOUS,
        ANYBODY,
    ]
    accesses = [
        Access(namespace, visibility, shared, bound)
        for namespace in ("", "alice", "bob")
        for visibility in Visibility
        for shared in ((), (MINE,), (THIRD,))
        for bound in ((), (MINE,), (OTHERS, THIRD))
    ]
    for caller in callers:
        for access in accesses:
            for action in Action:
                assert allows(caller, action, access) == restated(caller, action, access), (
                    caller,
                    action,
                    access,
                )


def restated(caller: Caller, action: Action, access: Access) -> bool:
    keyless = caller.key_id == ""
    at_home = caller.namespace == access.namespace and not (
        access.bound_keys and caller.key_id not in access.bound_keys
    )
    if caller.namespace == "" and not keyless and caller.role is not Role.ADMIN:
        at_home = False
    if keyless:
        return at_home and caller.role is Role.OWNER
    match action:
        case Action.UPLOAD | Action.SHARE:
            return at_home and caller.role is not Role.USER
        case Action.DELETE | Action.LOAD:
            return caller.role is Role.ADMIN or (at_home and caller.role is Role.OWNER)
        case Action.DESCRIBE | Action.PREDICT:
            return at_home or usable_by_strangers(caller, access)
        case Action.SEE:
            return caller.role is Role.ADMIN or at_home or usable_by_strangers(caller, access)


def usable_by_strangers(caller: Caller, access: Access) -> bool:
    match access.visibility:
        case Visibility.PUBLIC:
            return True
        case Visibility.SHARED:
            return caller.key_id in access.shared_with
        case _:
            return False


def test_a_host_that_writes_settings_does_not_become_alice():
    """A namespace is of the keys it was bound to, whatever name and role the settings give to another."""
    access = Access("alice", Visibility.PRIVATE, (), (MINE,))
    impostor = dataclasses.replace(OWNER, key_id=OTHERS)
    assert belongs(OWNER, access)
    assert not belongs(impostor, access)
    assert not any(allows(impostor, action, access) for action in Action)


def test_an_admin_cannot_run_what_is_not_theirs():
    """The operator chooses the admins, and to query a model is to copy it."""
    access = Access("alice", Visibility.PRIVATE, (), (OTHERS,))
    assert not allows(ADMIN, Action.PREDICT, access)
    assert not allows(ADMIN, Action.DESCRIBE, access)
    assert not allows(ADMIN, Action.SHARE, access)
    assert allows(ADMIN, Action.DELETE, access)


def test_no_key_is_not_a_key():
    """The empty key id of whoever sent none matches no list, not even one that holds it."""
    access = Access("alice", Visibility.SHARED, ("",), ())
    assert not any(allows(ANONYMOUS, action, access) for action in Action)


def test_what_is_not_said_is_private():
    """Without a word about it, a model is private."""
    stranger = dataclasses.replace(OWNER, namespace="bob", key_id=OTHERS)
    assert not any(allows(stranger, action, Access("alice")) for action in Action)
