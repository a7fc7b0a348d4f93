"""``Memrelay``: the methods of ``AsyncMemrelay`` for code without an event loop, written once."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Concatenate, Protocol, Self, overload

from memrelay.client.apikeys import AsyncApiKeys
from memrelay.client.client import AsyncMemrelay
from memrelay.client.source import AsyncSource


class Room:
    """A client on an event loop in a thread of its own."""

    def __init__(self, open_client: Callable[[], AsyncMemrelay]) -> None:
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="memrelay", daemon=True)
        self._thread.start()
        try:
            self.client = self.run(_opened(open_client))
        except BaseException:
            self._end()
            raise

    def submit[R](self, work: Coroutine[Any, Any, R]) -> Future[R]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run[R](self, work: Coroutine[Any, Any, R]) -> R:
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C comes to the thread that waits: let the work end too
            raise

    def close(self) -> None:
        self.run(self.client.close())
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _opened(open_client: Callable[[], AsyncMemrelay]) -> AsyncMemrelay:
    return open_client()


class Face[T](Protocol):
    """Something blocking that stands for a ``T`` on an event loop."""

    def _behind(self) -> tuple[Room, T]: ...


class blocking[T, **P, R]:
    """The blocking form of a method of a ``T``, with its signature and docstring."""

    def __init__(self, method: Callable[Concatenate[T, P], Coroutine[Any, Any, R]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, face: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, face: Face[T], owner: type[Any]) -> Callable[P, R]: ...
    def __get__(self, face: Face[T] | None, owner: type[Any]) -> Self | Callable[P, R]:
        if face is None:
            return self
        (room, behind), method = face._behind(), self._method

        @functools.wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return room.run(method(behind, *args, **kwargs))

        return call


class Memrelay:
    """The client of a memrelay service; arguments and methods as ``AsyncMemrelay``'s, which see.

    Safe for use from several threads at once, and after a fork: the child gets connections of its own.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        patience: float = 10.0,
    ) -> None:
        self._open = functools.partial(
            AsyncMemrelay, url, api_key=api_key, timeout=timeout, patience=patience
        )
        self._opening = threading.Lock()
        self._current: Room | None = Room(self._open)

    add = blocking(AsyncMemrelay.add)
    import_ndjson = blocking(AsyncMemrelay.import_ndjson)
    get = blocking(AsyncMemrelay.get)
    delete = blocking(AsyncMemrelay.delete)
    delete_many = blocking(AsyncMemrelay.delete_many)
    delete_where = blocking(AsyncMemrelay.delete_where)
    purge = blocking(AsyncMemrelay.purge)
    count = blocking(AsyncMemrelay.count)
    list_memories = blocking(AsyncMemrelay.list_memories)
    search = blocking(AsyncMemrelay.search)
    job = blocking(AsyncMemrelay.job)
    wait_job = blocking(AsyncMemrelay.wait_job)
    jobs = blocking(AsyncMemrelay.jobs)
    dead_letters = blocking(AsyncMemrelay.dead_letters)
    replay_dead_letters = blocking(AsyncMemrelay.replay_dead_letters)
    delete_dead_letters = blocking(AsyncMemrelay.delete_dead_letters)
    resume = blocking(AsyncMemrelay.resume)
    drivers = blocking(AsyncMemrelay.drivers)
    sync_driver = blocking(AsyncMemrelay.sync_driver)
    detach_driver = blocking(AsyncMemrelay.detach_driver)
    sources = blocking(AsyncMemrelay.sources)
    retire_driver = blocking(AsyncMemrelay.retire_driver)
    join_driver = blocking(AsyncMemrelay.join_driver)
    usage = blocking(AsyncMemrelay.usage)
    ready = blocking(AsyncMemrelay.ready)

    def source(self, name: str = "default", *, namespace: str | None = None) -> Source:
        """Keys and values in one source, in one namespace of its keys."""
        return Source(self, name, namespace)

    def api_keys(self, *, namespace: str | None = None) -> ApiKeys:
        """The API keys of the own namespace; of another by an operator's key."""
        return ApiKeys(self, namespace)

    def run[**P, R](
        self,
        work: Callable[Concatenate[AsyncMemrelay, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """The result of ``work``, a method of ``AsyncMemrelay`` or a function of one."""
        room, client = self._behind()
        return room.run(work(client, *args, **kwargs))

    async def arun[**P, R](
        self,
        work: Callable[Concatenate[AsyncMemrelay, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """``run``, awaited on whatever event loop: for what is used from several, and from none."""
        room, client = self._behind()
        return await asyncio.wrap_future(room.submit(work(client, *args, **kwargs)))

    @property
    def url(self) -> str:
        return self._room().client.url

    def close(self) -> None:
        """Give the connections and the thread back; a second call does nothing."""
        room, self._current = self._current, None
        if room is not None and room.pid == os.getpid():
            room.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _behind(self) -> tuple[Room, AsyncMemrelay]:
        room = self._room()
        return room, room.client

    def _room(self) -> Room:
        with self._opening:
            if self._current is None:
                raise RuntimeError("this client is closed")
            if self._current.pid != os.getpid():
                self._current = Room(self._open)
            return self._current


class Source:
    """The methods of ``AsyncSource``, which see, for code without an event loop."""

    def __init__(self, relay: Memrelay, name: str, namespace: str | None) -> None:
        self.name = name
        self.namespace = namespace
        self._relay = relay

    store = blocking(AsyncSource.store)
    entry = blocking(AsyncSource.entry)
    entries = blocking(AsyncSource.entries)
    retrieve = blocking(AsyncSource.retrieve)
    exists = blocking(AsyncSource.exists)
    update = blocking(AsyncSource.update)
    delete = blocking(AsyncSource.delete)
    search = blocking(AsyncSource.search)
    count = blocking(AsyncSource.count)
    list_keys = blocking(AsyncSource.list_keys)
    keys_page = blocking(AsyncSource.keys_page)
    store_many = blocking(AsyncSource.store_many)
    retrieve_many = blocking(AsyncSource.retrieve_many)
    delete_many = blocking(AsyncSource.delete_many)
    clear = blocking(AsyncSource.clear)
    info = blocking(AsyncSource.info)

    def _behind(self) -> tuple[Room, AsyncSource]:
        room, client = self._relay._behind()
        return room, client.source(self.name, namespace=self.namespace)


class ApiKeys:
    """The methods of ``AsyncApiKeys``, which see, for code without an event loop."""

    def __init__(self, relay: Memrelay, namespace: str | None) -> None:
        self.namespace = namespace
        self._relay = relay

    create = blocking(AsyncApiKeys.create)
    list = blocking(AsyncApiKeys.list)
    revoke = blocking(AsyncApiKeys.revoke)

    def _behind(self) -> tuple[Room, AsyncApiKeys]:
        room, client = self._relay._behind()
        return room, client.api_keys(namespace=self.namespace)
