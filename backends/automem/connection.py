"""The client of one event loop: opened, asked under a deadline, closed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from backends.automem.errors import garbled, not_open, oversized, refusal, translated
from backends.automem.settings import Settings
from memrelay.client.http import LOOPBACK

PROBE = "memrelay:ping"
"""A tag that nothing has."""

Json = Any


class Connection:
    """AutoMem's HTTP API, as far as we need it. All that it raises is ours.

    ``/recall`` is not part of it: it ranks by AutoMem's own embeddings and scores, 100 at most and without
    pages, leaves out what it thinks little of, and hands out other users' memories in ``relations``.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.settings = settings
        self._what = f"{name} (AutoMem at {settings.url})"
        self._client: httpx.AsyncClient | None = None
        self._turns = asyncio.Semaphore(settings.connections)  # of the loop that opened us

    async def open(self) -> None:
        """``Unavailable`` unless it answers, with our token."""
        if self._client is not None:
            return
        self._client = self._make_client()
        self._turns = asyncio.Semaphore(self.settings.connections)
        try:
            await self.ping()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def ping(self) -> None:
        """A listing and not ``/health``, which asks for no token and is 200 without a database too."""
        await self.page([PROBE], 0)

    async def page(self, tags: Sequence[str], offset: int) -> tuple[list[Json], bool]:
        """Memories that have any of ``tags``, whatever its case, and whether there are more.

        They come by importance, time and id. At most ``settings.page``, from ``offset`` on.
        """
        window = [("limit", str(self.settings.page)), ("offset", str(offset))]
        params = httpx.QueryParams([*window, *(("tags", tag) for tag in tags)])
        answer = await self._asked("GET", "/memory/by-tag", params=params)
        match self._json(answer):
            case {"memories": list(memories), "has_more": bool(more)}:
                return memories, more
        raise garbled(self._what)

    async def store(self, memories: Sequence[Json]) -> None:
        """Store them as new memories, all or none; ``Permanent`` if one is refused."""
        answer = await self._asked("POST", "/memory/batch", body={"memories": memories})
        match self._json(answer):
            case {"stored": int(stored)} if stored == len(memories):
                return
        raise garbled(self._what)

    async def remove(self, uuid: str) -> bool:
        """Whether it was there."""
        answer = await self._asked("DELETE", f"/memory/{uuid}", missing=True)
        match self._json(answer):
            case {"memory_id": str()}:
                return True
            case {"code": 404}:
                return False
        raise garbled(self._what)

    async def _asked(
        self,
        method: str,
        path: str,
        *,
        params: httpx.QueryParams | None = None,
        body: Json = None,
        missing: bool = False,
    ) -> httpx.Response:
        """The answer, if it is a success; or a 404 if one may be ``missing``."""
        if self._client is None:
            raise not_open(self._what)
        async with self._turns:
            with translated(self._what):
                async with asyncio.timeout(self.settings.timeout):
                    request = self._client.build_request(method, path, params=params, json=body)
                    answer = await self._read(await self._client.send(request, stream=True))
        if answer.is_success or (missing and answer.status_code == httpx.codes.NOT_FOUND):
            return answer
        raise refusal(self._what, answer, self.settings.token)

    async def _read(self, answer: httpx.Response) -> httpx.Response:
        """With its body, which is not inflated: of compressed bytes nobody knows how many they are."""
        body = bytearray()
        try:
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > self.settings.max_answer:
                    raise oversized(self._what, self.settings.max_answer)
        finally:
            await answer.aclose()
        headers = {"retry-after": answer.headers.get("retry-after", "")}
        return httpx.Response(answer.status_code, headers=headers, content=bytes(body))

    def _json(self, answer: httpx.Response) -> Json:
        try:
            return answer.json()
        except ValueError:
            raise garbled(self._what) from None

    def _make_client(self) -> httpx.AsyncClient:
        """Without redirects, which could carry the token elsewhere; ``_asked`` keeps the time."""
        settings = self.settings
        return httpx.AsyncClient(  # nosec B113 # see above
            base_url=settings.url,
            headers={"Accept-Encoding": "identity"}
            | ({"Authorization": f"Bearer {settings.token}"} if settings.token else {}),
            timeout=None,
            limits=httpx.Limits(max_connections=settings.connections),
            trust_env=httpx.URL(settings.url).host not in LOOPBACK,  # no proxy reaches our loopback
        )
