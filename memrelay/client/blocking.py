"""``Memrelay``: the methods of ``AsyncMemrelay`` for code without an event loop, written once."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Self, overload

from memrelay.client.client import AsyncMemrelay


class _Room:
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

    def run[R](self, work: Coroutine[Any, Any, R]) -> R:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
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


class blocking[**P, R]:
    """The blocking form of a method of ``AsyncMemrelay``, with its signature and docstring."""

    def __init__(
        self, method: Callable[Concatenate[AsyncMemrelay, P], Coroutine[Any, Any, R]]
    ) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, client: None, owner: type[Memrelay]) -> Self: ...
    @overload
    def __get__(self, client: Memrelay, owner: type[Memrelay]) -> Callable[P, R]: ...
    def __get__(self, client: Memrelay | None, owner: type[Memrelay]) -> Self | Callable[P, R]:
        if client is None:
            return self
        room, method = client._room(), self._method

        @functools.wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return room.run(method(room.client, *args, **kwargs))

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
        self._current: _Room | None = _Room(self._open)

    add = blocking(AsyncMemrelay.add)
    import_ndjson = blocking(AsyncMemrelay.import_ndjson)
    get = blocking(AsyncMemrelay.get)
    delete = blocking(AsyncMemrelay.delete)
    delete_many = blocking(AsyncMemrelay.delete_many)
    count = blocking(AsyncMemrelay.count)
    search = blocking(AsyncMemrelay.search)
    job = blocking(AsyncMemrelay.job)
    wait_job = blocking(AsyncMemrelay.wait_job)
    jobs = blocking(AsyncMemrelay.jobs)
    ready = blocking(AsyncMemrelay.ready)

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

    def _room(self) -> _Room:
        with self._opening:
            if self._current is None:
                raise RuntimeError("this client is closed")
            if self._current.pid != os.getpid():
                self._current = _Room(self._open)
            return self._current
