"""The client of one event loop: opened, called under a deadline, closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from weaviate import WeaviateAsyncClient
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.collections import CollectionAsync
from weaviate.config import GrpcConfig
from weaviate.connect import ConnectionParams

from backends.weaviate.errors import translated
from backends.weaviate.objects import collection_name, tenant_name
from backends.weaviate.settings import Settings
from memrelay.errors import Unavailable
from memrelay.types import Scope

Collection = CollectionAsync[Any, Any]

PATIENCE = 0.5
"""Seconds of silence after which a call asks whether the ports are still open."""

# A server that is back is found within a second; gRPC's own backoff grows to two minutes.
_CHANNEL = [("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 1000)]

# The client logs objects that were refused, which are memories; our outcomes say what failed.
logging.getLogger("weaviate-client").setLevel(logging.CRITICAL)


class Connection:
    """The client and its deadline. All that it raises is ours."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._what = f"{name} (Weaviate at {settings.url})"
        self._settings = settings
        self._opened: WeaviateAsyncClient | None = None

    async def open(self) -> None:
        """``Unavailable`` unless both ports answer."""
        if self._opened is not None:
            return
        client = self._make_client()
        try:
            with translated(self._what):
                async with asyncio.timeout(self._settings.timeout):
                    await self._knock()
                    await client.connect()
        except BaseException:
            await client.close()
            raise
        self._opened = client

    async def close(self) -> None:
        client, self._opened = self._opened, None
        if client is not None:
            await client.close()

    @property
    def client(self) -> WeaviateAsyncClient:
        if self._opened is None:
            raise Unavailable(f"{self._what} is not open", code="closed")
        return self._opened

    def collection(self, scope: Scope) -> Collection:
        """The tenant of a scope's namespace in the collection of its space."""
        collections = self.client.collections
        return collections.use(collection_name(scope.space)).with_tenant(tenant_name(scope))

    async def ping(self) -> None:
        """``Unavailable`` unless REST says ready and gRPC's port is open."""
        await self._knock_translated()
        if not await self.call(self.client.is_ready()):
            raise Unavailable(f"{self._what} is not ready", code="loading")

    async def call[T](self, work: Awaitable[T]) -> T:
        """The result of one call of the client."""
        with translated(self._what):
            async with asyncio.timeout(self._settings.timeout):
                return await self._watched(work)

    async def _watched[T](self, work: Awaitable[T]) -> T:
        """The client repeats calls for a minute while nobody listens: do not wait for that."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(_forget)
        try:
            while not (await asyncio.wait({task}, timeout=PATIENCE))[0]:
                await self._knock()
            return task.result()
        finally:
            task.cancel()

    async def _knock_translated(self) -> None:
        with translated(self._what):
            async with asyncio.timeout(self._settings.timeout):
                await self._knock()

    async def _knock(self) -> None:
        """OSError if REST's port or gRPC's is closed."""
        for port in (self._settings.port, self._settings.grpc_port):
            _, writer = await asyncio.open_connection(self._settings.host, port)
            writer.close()
            await writer.wait_closed()

    def _make_client(self) -> WeaviateAsyncClient:
        """Checks at the start are skipped: one of them asks the package index for a newer client."""
        settings = self._settings
        seconds = settings.timeout
        return WeaviateAsyncClient(
            ConnectionParams.from_url(settings.url, settings.grpc_port, settings.secure),
            auth_client_secret=Auth.api_key(settings.api_key) if settings.api_key else None,
            additional_config=AdditionalConfig(
                timeout=Timeout(init=seconds, query=seconds, insert=seconds),
                grpc_config=GrpcConfig(channel_options=_CHANNEL),
            ),
            skip_init_checks=True,
        )


def _forget(task: asyncio.Future[Any]) -> None:
    """A call that nobody waits for any more may fail in silence."""
    if not task.cancelled():
        task.exception()
