"""What a caller may do with a model: the one table of the server, without clock or disk.

====================  ==============================================
the caller is         and may
====================  ==============================================
owner or admin of     everything: `SEE DESCRIBE PREDICT UPLOAD DELETE
its namespace         SHARE LOAD`
user of its namespace `SEE DESCRIBE PREDICT`
among those it is     `SEE DESCRIBE PREDICT`
shared with
anybody, authentic,   `SEE DESCRIBE PREDICT`
and it is public
admin                 `SEE DELETE LOAD`; not run it, not describe it
====================  ==============================================

Whoever fits several lines has them all. Whoever may not `SEE` a model is told that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from blindai.server.callers.caller import ANONYMOUS, Caller, Role
from blindai.wire.access import Visibility


class Action(Enum):
    """What can be done with a model."""

    SEE = auto()  # that it exists: its name, digest and size in the index
    DESCRIBE = auto()  # its inputs and outputs
    PREDICT = auto()
    UPLOAD = auto()  # put it there, or another in its place
    DELETE = auto()
    SHARE = auto()
    LOAD = auto()  # and unload


@dataclass(frozen=True)
class Access:
    """What decides about one model, or one name for a model. `bound_keys` are those of its namespace."""

    namespace: str
    visibility: Visibility = Visibility.PRIVATE
    shared_with: tuple[str, ...] = ()
    bound_keys: tuple[str, ...] = ()


_EVERYTHING = frozenset(Action)
_USE = frozenset({Action.SEE, Action.DESCRIBE, Action.PREDICT})
# Without PREDICT: to query a model is to copy it, and the operator chooses the admins.
_KEEP_ORDER = frozenset({Action.SEE, Action.DELETE, Action.LOAD})
_NOTHING: frozenset[Action] = frozenset()


def allows(caller: Caller, action: Action, access: Access) -> bool:
    """Say whether `caller` may do `action` to the model that `access` is about."""
    return action in _own(caller, access) or action in _given(caller, access) or action in _by_office(caller)


def belongs(caller: Caller, access: Access) -> bool:
    """Say whether the namespace is the caller's own, by the settings and by the keys it is bound to."""
    if caller.namespace != access.namespace:
        return False
    if caller.namespace == "" and caller.role != Role.ADMIN and caller != ANONYMOUS:
        return False  # no namespace of their own: "" is the server's shelf
    # A host that edits the settings can name itself alice. It cannot hold a key that alice bound.
    return not access.bound_keys or caller.key_id in access.bound_keys


def _own(caller: Caller, access: Access) -> frozenset[Action]:
    if not belongs(caller, access):
        return _NOTHING
    return _USE if caller.role == Role.USER else _EVERYTHING


def _given(caller: Caller, access: Access) -> frozenset[Action]:
    if not caller.is_authenticated:
        return _NOTHING
    shared = access.visibility == Visibility.SHARED and caller.key_id in access.shared_with
    return _USE if shared or access.visibility == Visibility.PUBLIC else _NOTHING


def _by_office(caller: Caller) -> frozenset[Action]:
    return _KEEP_ORDER if caller.role == Role.ADMIN else _NOTHING
