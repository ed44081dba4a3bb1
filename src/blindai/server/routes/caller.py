"""Routes about whoever asks: who the server takes them for, and which keys are their namespace."""

from __future__ import annotations

from blindai.errors import RequestCode, RequestError
from blindai.server.catalogue.catalogue import Catalogue
from blindai.server.catalogue.namespaces import Namespaces
from blindai.server.catalogue.room import CatalogueLimits
from blindai.server.http.exchange import Request, Response, json_response
from blindai.server.http.routing import Route
from blindai.server.uploads import Uploads
from blindai.wire.access import CallerInfo, is_key_id


class CallerRoutes:
    def __init__(
        self,
        catalogue: Catalogue,
        namespaces: Namespaces,
        uploads: Uploads,
        limits: CatalogueLimits,
        *,
        requests_per_minute: int,
    ) -> None:
        self._catalogue = catalogue
        self._namespaces = namespaces
        self._uploads = uploads
        self._limits = limits
        self._requests_per_minute = requests_per_minute

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v2/caller", self._caller),
            Route("PUT", "/v2/caller/keys/{key}", self._add_key),
            Route("DELETE", "/v2/caller/keys/{key}", self._remove_key),
        ]

    async def _caller(self, request: Request) -> Response:
        caller, limits = request.caller, self._limits
        count, size = self._catalogue.usage_of(caller)
        info = CallerInfo(
            name=caller.name,
            role=caller.role.value,
            namespace=caller.namespace,
            key_id=caller.key_id,
            models=count,
            model_bytes=size,
            max_models=caller.quota.max_models or limits.caller_max_models,
            max_model_bytes=caller.quota.max_model_bytes or limits.caller_max_model_bytes,
            requests_per_minute=caller.quota.requests_per_minute or self._requests_per_minute,
            namespace_keys=self._namespaces.keys_of(caller),
        )
        return json_response(info.to_json())

    async def _add_key(self, request: Request) -> Response:
        key = _key(request)
        await self._uploads.on_thread(lambda: self._namespaces.add_key(request.caller, key))
        return json_response({})

    async def _remove_key(self, request: Request) -> Response:
        key = _key(request)
        await self._uploads.on_thread(lambda: self._namespaces.remove_key(request.caller, key))
        return json_response({})


def _key(request: Request) -> str:
    key = request.parameters["key"]
    if not is_key_id(key):
        raise RequestError(
            RequestCode.MALFORMED, "a key id is SHA-256 of the key, in 64 lower-case hexadecimal digits"
        )
    return key
