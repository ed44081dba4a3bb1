"""Whose a namespace is: that of the first key that put a model there, and of those it let in.

The settings say who calls themselves alice, and the host can edit the settings. What it cannot edit is the
sealed list of alice's keys.
"""

from __future__ import annotations

from blindai.errors import RequestCode, RequestError
from blindai.server.callers.access import Access, Action, allows, belongs
from blindai.server.callers.caller import Caller, Role
from blindai.server.catalogue.entries import Entries
from blindai.server.catalogue.keeping import Keeping
from blindai.server.catalogue.refusals import forbidden
from blindai.store.catalogue import MAX_BOUND_KEYS, Binding
from blindai.wire.model_name import ModelName


class Namespaces:
    """The keys of namespaces, as their holders change them.

    A key that is let in has to come by itself. Otherwise whoever binds alice's namespace first could let
    alice in, who would upload into what she takes for her own.
    """

    def __init__(self, entries: Entries, keeping: Keeping) -> None:
        self._changes = entries.changes
        self._keeping = keeping

    def keys_of(self, caller: Caller) -> tuple[str, ...]:
        """Return the keys that hold the caller's namespace; none to a caller whose key is not among them."""
        keys = self._keeping.binding(caller.namespace).keys
        return keys if caller.key_id in keys else ()

    def add_key(self, caller: Caller, key_id: str) -> None:
        """Invite another key into the caller's namespace, or come in with one's own, once it is invited.

        Blocks. Raises RequestError.
        """
        with self._changes:
            binding = self._keeping.binding(caller.namespace)
            if key_id == caller.key_id and key_id in binding.invited:
                self._bind(caller, (*binding.keys, key_id), _without(binding.invited, key_id))
                return
            keys = _own(caller, binding)
            if key_id not in keys:
                self._bind(caller, keys, (*_without(binding.invited, key_id), key_id))

    def remove_key(self, caller: Caller, key_id: str) -> None:
        """Take a key's right to the caller's namespace. Blocks. Raises RequestError.

        One's own stays, and so does the last: nobody shuts themselves out by a slip.
        """
        if key_id == caller.key_id:
            raise forbidden("a key does not remove itself: do it with another key of the namespace")
        with self._changes:
            binding = self._keeping.binding(caller.namespace)
            left = _without(_own(caller, binding), key_id)
            self._bind(caller, left, _without(binding.invited, key_id))

    def _bind(self, caller: Caller, keys: tuple[str, ...], invited: tuple[str, ...]) -> None:
        if len(keys) + len(invited) > MAX_BOUND_KEYS:
            raise forbidden(f"a namespace has at most {MAX_BOUND_KEYS} keys")
        binding = Binding(keys, invited)
        if binding != self._keeping.binding(caller.namespace):
            self._keeping.bind(caller.namespace, binding)


def _own(caller: Caller, binding: Binding) -> tuple[str, ...]:
    if caller.role == Role.USER or not caller.is_authenticated:
        raise forbidden("the keys of a namespace are its owner's to add and remove")
    if not belongs(caller, Access(caller.namespace, bound_keys=binding.keys)):
        raise _bound(caller, binding)
    return binding.keys or (caller.key_id,)


def _without(keys: tuple[str, ...], key_id: str) -> tuple[str, ...]:
    return tuple(key for key in keys if key != key_id)


def check_may_upload(caller: Caller, name: ModelName, binding: Binding) -> None:
    """Raise RequestError (forbidden, namespace-bound) unless the caller may put a model of this name there.

    What is there already makes no difference to the answer.
    """
    if allows(caller, Action.UPLOAD, Access(name.namespace, bound_keys=binding.keys)):
        return
    if caller.role == Role.USER:
        raise forbidden("the role user uploads nothing")
    if name.namespace != caller.namespace:
        raise forbidden("models of this name are not yours to upload: GET /v2/caller says where yours go")
    if not name.namespace and caller.role != Role.ADMIN and caller.is_authenticated:
        raise forbidden("you have no namespace to upload into")
    raise _bound(caller, binding)


def _bound(caller: Caller, binding: Binding) -> RequestError:
    if caller.key_id in binding.invited:
        message = (
            "this namespace belongs to another key, whose holder would read what you upload; it has invited "
            "yours: join only if you know whose it is"
        )
    else:
        message = "this namespace belongs to another key than yours: whoever holds that can invite yours"
    return RequestError(RequestCode.NAMESPACE_BOUND, message)
