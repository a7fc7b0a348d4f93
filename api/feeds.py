"""Feeds: text that changes, sent to who looks at it, as server-sent events.

However many look at the same, it is made once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from dataclasses import dataclass

from memrelay.errors import Unavailable

log = logging.getLogger("memrelay.api")
EVERY_SECONDS = 2.0
ALIVE_SECONDS = 15.0
"""After so long without news a comment is sent: who has gone is noticed by that."""
LIFE_SECONDS = 600.0
"""Then a stream ends and the browser asks again, with a key that may have been revoked by now."""
MOST_LISTENERS = 256
MOST_OF_ONE = 192
"""Listeners of one namespace: others always find room."""
END = "event: end\ndata: end\n\n"


@dataclass(frozen=True, slots=True)
class News:
    """What is to be shown now. ``ended``: it will not change any more."""

    text: str
    ended: bool = False


Source = Callable[[], Awaitable[News]]


class Full(Unavailable):
    """Too many look already."""

    code = "too_many_listeners"


class _Listener:
    """One who looks; has the newest that it was not sent yet, and nothing older."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.news: News | None = None

    def tell(self, news: News) -> None:
        self.news = news
        self.woken.set()


class _Feed:
    """One text, made every so many seconds as long as somebody listens."""

    def __init__(self, source: Source, every: float, owner: str) -> None:
        self.owner = owner
        self._source = source
        self._every = every
        self._latest: News | None = None
        self.listeners: set[_Listener] = set()
        self.task = asyncio.create_task(self._poll(), name="feed")

    def enter(self, listener: _Listener) -> None:
        self.listeners.add(listener)
        if self._latest is not None:
            listener.tell(self._latest)

    async def _poll(self) -> None:
        while True:
            try:
                news = await self._source()
            except Exception:  # a page that nobody can make any more: the next one may go well
                log.exception("what a page shows could not be brought up to date")
            else:
                if news != self._latest:
                    self._latest = news
                    for listener in self.listeners:
                        listener.tell(news)
            await asyncio.sleep(self._every)


class Feeds:
    """All feeds of one process."""

    def __init__(self) -> None:
        self._feeds: dict[Hashable, _Feed] = {}
        self._closed = False

    def close(self) -> None:
        """Every stream ends, so that the server can."""
        self._closed = True
        for feed in self._feeds.values():
            feed.task.cancel()
            for listener in feed.listeners:
                listener.woken.set()

    def follow(
        self, key: Hashable, source: Source, *, owner: str = "", every: float = EVERY_SECONDS
    ) -> AsyncGenerator[str]:
        """Events of a namespace, ``owner``: what ``source`` says, whenever that changes.

        Raises ``Full`` at once.

        Those of the same ``key`` share a source: the first one's. It is asked ``every`` so many seconds,
        and may take its time until there is news.
        """
        counts: Counter[str] = Counter()
        for feed in self._feeds.values():
            counts[feed.owner] += len(feed.listeners)
        if counts.total() >= MOST_LISTENERS or counts[owner] >= MOST_OF_ONE:
            raise Full("too many pages are open: close some, or look again later", retry_after=10)
        return self._events(key, lambda: _Feed(source, every, owner))

    async def _events(self, key: Hashable, create: Callable[[], _Feed]) -> AsyncGenerator[str]:
        listener = _Listener()
        if self._closed:
            return
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = create()
        feed.enter(listener)
        try:
            async for event in _told(listener, lambda: self._closed):
                yield event
        finally:
            feed.listeners.discard(listener)
            if not feed.listeners and self._feeds.get(key) is feed:
                del self._feeds[key]
                feed.task.cancel()


async def _told(listener: _Listener, closed: Callable[[], bool]) -> AsyncGenerator[str]:
    until = asyncio.get_running_loop().time() + LIFE_SECONDS
    while not closed() and asyncio.get_running_loop().time() < until:
        try:
            async with asyncio.timeout(ALIVE_SECONDS):
                await listener.woken.wait()
        except TimeoutError:
            yield ":\n\n"
            continue
        listener.woken.clear()
        news, listener.news = listener.news, None
        if news is not None:
            yield _event(news.text)
            if news.ended:
                yield END
                return


def _event(text: str) -> str:
    return "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"
