"""API keys of a service: made, listed and revoked, by a key with the scope ``admin``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from memrelay.apikeys import KeyScope
from memrelay.client.answers import KeyInfo, KeyInfos, NewKey
from memrelay.client.http import Http, given, segment

PATH = "/v1/keys"


class AsyncApiKeys:
    """Of the own namespace, or of ``namespace`` if the key is an operator's."""

    def __init__(self, http: Http, namespace: str | None) -> None:
        self._http = http
        self._namespace = namespace

    async def create(
        self, scopes: Sequence[KeyScope], *, name: str = "", expires_at: datetime | None = None
    ) -> NewKey:
        """A new key; ``key`` of the answer is told this once. An answer that is lost leaves one unused."""
        body = given(
            scopes=list(scopes),
            name=name,
            expires_at=None if expires_at is None else expires_at.isoformat(),
            namespace=self._namespace,
        )
        return await self._http.fetch(NewKey, "POST", PATH, json=body)

    async def list(self) -> tuple[KeyInfo, ...]:
        """All keys, oldest first, without the keys themselves."""
        params = given(namespace=self._namespace)
        return (await self._http.fetch(KeyInfos, "GET", PATH, params=params)).keys

    async def revoke(self, id: str) -> None:
        """Revoke a key: 5 s later no API takes it any more. ``NotFound`` if there is none of that id."""
        params = given(namespace=self._namespace)
        await self._http.request("DELETE", f"{PATH}/{segment(id)}", params=params)
