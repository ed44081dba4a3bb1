"""Whose a namespace is: that of the first key that put a model there, and of those it let in.

The settings say who calls themselves alice, and the host can edit the settings. What it cannot edit is the
sealed list of alice's keys.
"""

from __future__ import annotations

import threading

from blindai.errors import RequestCode, RequestError
from blindai.server.callers.access import Access, Action, allows
from blindai.server.callers.caller import Caller, Role
from blindai.server.catalogue.keeping import Keeping
from blindai.server.catalogue.refusals import forbidden
from blindai.wire.model_name import ModelName


class Namespaces:
    """The keys of namespaces, as their owners change them."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._changes = threading.Lock()

    def add_key(self, caller: Caller, key_id: str) -> None:
        """Let another key be the caller's namespace, too. Blocks. Raises RequestError."""
        with self._changes:
            keys = self._own_keys(caller)
            if key_id not in keys:
                self._keeping.bind(caller.namespace, (*keys, key_id))

    def remove_key(self, caller: Caller, key_id: str) -> None:
        """Take a key's right to the caller's namespace. Blocks. Raises RequestError.

        The last one stays: without it, nobody could come back.
        """
        with self._changes:
            keys = self._own_keys(caller)
            left = tuple(key for key in keys if key != key_id)
            if not left:
                raise forbidden("the last key of a namespace cannot be removed: add another one first")
            if left != keys:
                self._keeping.bind(caller.namespace, left)

    def _own_keys(self, caller: Caller) -> tuple[str, ...]:
        if caller.role == Role.USER or not caller.namespace:
            raise forbidden("the keys of a namespace are its owner's to add and remove")
        keys = self._keeping.bound_keys(caller.namespace)
        if keys and caller.key_id not in keys:
            raise _bound()
        return keys or (caller.key_id,)


def check_may_upload(caller: Caller, name: ModelName, bound_keys: tuple[str, ...]) -> None:
    """Raise RequestError (forbidden, namespace-bound) unless the caller may put a model of this name there.

    What is there already makes no difference to the answer.
    """
    if allows(caller, Action.UPLOAD, Access(name.namespace, bound_keys=bound_keys)):
        return
    if caller.role != Role.USER and name.namespace and name.namespace == caller.namespace:
        raise _bound()
    raise forbidden("you cannot upload models of this name")


def _bound() -> RequestError:
    return RequestError(
        RequestCode.NAMESPACE_BOUND,
        "this namespace belongs to another key than yours: whoever holds that can add yours",
    )
