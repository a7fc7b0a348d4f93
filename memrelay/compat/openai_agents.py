"""The history of a conversation of the OpenAI Agents SDK, kept in memrelay: a ``Session``.

``pip install 'memrelay[openai-agents]'``, and a memrelay that runs (``memrelay up``):

    import asyncio

    from agents import Agent, Runner
    from memrelay.client import AsyncMemrelay
    from memrelay.compat.openai_agents import MemrelaySession

    async def main() -> None:
        async with AsyncMemrelay() as relay:
            session = MemrelaySession("ana", relay)
            agent = Agent(name="assistant")
            await Runner.run(agent, "I like window seats.", session=session)
            answer = await Runner.run(agent, "Where do I like to sit?", session=session)
            print(answer.final_output)

    asyncio.run(main())
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import batched
from typing import Any

from agents.items import TResponseInputItem
from agents.memory import SessionSettings
from agents.memory.session_settings import coerce_session_settings, resolve_session_limit

from memrelay.client import AsyncMemrelay, NewValue
from memrelay.errors import Conflict, NotFound, Unavailable

WAIT_SECONDS = 30.0
"""How long a write may take to be readable."""
ADDED_AT_ONCE = 512
BYTES_AT_ONCE = 1_000_000
"""Of one batch, which the service takes up to 1 MiB."""
FRAME_BYTES = 80
"""What an item has around it in a batch: its key, and that it is new."""
READ_AT_ONCE = 256
LAST = 10**12 - 1
"""Keys count down from here, so that the newest items are the first ones of a listing."""
PREFIX = "agents:"
NAMESPACE_CHARACTERS = 64


class MemrelaySession:
    """The items of ``session_id``, in the order in which they were added, in one source of memrelay.

    They are values under keys in a namespace of their own, JSON of 64 KiB at most each. Every client
    that names the same session and source has the same items; what was added together stays together,
    whoever adds meanwhile (beyond 512 items or 1 MB: in parts), and two pops never return the same. What a
    method has written, all read from then on; while another driver stands in for the primary, once that
    one has it. ``get_items`` without a limit takes that of the settings.

    ``relay`` is its owner's to close. Everything raises its errors: ``InvalidRequest`` for an item that
    is too long (nothing of its part is added), ``Unavailable`` when the service cannot be had. The source
    is one that embeds, not one whose embedding is ``external``.
    """

    def __init__(
        self,
        session_id: str,
        relay: AsyncMemrelay,
        *,
        source: str = "default",
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> None:
        self.session_id = session_id
        self.session_settings: SessionSettings | None = coerce_session_settings(
            session_settings or SessionSettings()
        )
        self._keys = relay.source(source, namespace=_namespace(session_id))

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The last ``limit`` items, the oldest of them first; all of them without any limit."""
        limit = resolve_session_limit(limit, self.session_settings)
        keys = await self._keys.list_keys(limit=sys.maxsize if limit is None else limit)
        keys.reverse()
        items = []
        for part in batched(keys, READ_AT_ONCE):
            held = await self._keys.retrieve_many(part)
            items += [json.loads(held[key]) for key in part if key in held]
        return items

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items after all others."""
        for part in _parts(map(_packed, items)):
            await self._add(part)

    async def pop_item(self) -> TResponseInputItem | None:
        """Take the newest item away; None if there is none."""
        while (key := await self._newest()) is not None:
            try:
                held = await self._keys.entry(key)
                await self._keys.delete(key, if_match=held.version)
            except (Conflict, NotFound):
                continue  # somebody else took it
            item: TResponseInputItem = json.loads(held.value)
            return item
        return None

    async def clear_session(self) -> None:
        """Take all items away."""
        await self._keys.clear()

    async def _add(self, packed: Sequence[str]) -> None:
        """Keys are new or nothing is stored: of writers who saw the same newest item one is first."""
        while True:
            newest = await self._newest()
            first = LAST if newest is None else int(newest) - 1
            try:
                stored = await self._keys.store_many(_numbered(packed, first), wait=WAIT_SECONDS)
            except Conflict:
                continue
            if not stored[0].stored:
                raise Unavailable(f"accepted, and not stored after {WAIT_SECONDS:g} s")
            return

    async def _newest(self) -> str | None:
        return next(iter(await self._keys.list_keys(limit=1)), None)


def _parts(packed: Iterable[str]) -> Iterator[list[str]]:
    """As many of them together as one batch may hold."""
    part: list[str] = []
    size = 0
    for text in packed:
        weight = len(json.dumps(text, ensure_ascii=False).encode()) + FRAME_BYTES
        if part and (len(part) == ADDED_AT_ONCE or size + weight > BYTES_AT_ONCE):
            yield part
            part, size = [], 0
        part.append(text)
        size += weight
    if part:
        yield part


def _numbered(packed: Sequence[str], first: int) -> list[NewValue]:
    return [
        {"key": f"{first - place:012d}", "value": text, "overwrite": False}
        for place, text in enumerate(packed)
    ]


def _packed(item: TResponseInputItem) -> str:
    """JSON of any Python string: escapes what UTF-8 cannot say (half a character from a stream)."""
    return json.dumps(item, ensure_ascii=False).encode(errors="backslashreplace").decode()


def _namespace(session_id: str) -> str:
    """Never the nameless one, which stands for all; a digest of an id that is long or has odd characters."""
    plain = PREFIX + session_id
    if len(plain) <= NAMESPACE_CHARACTERS and session_id.isprintable():
        return plain
    digest = hashlib.blake2b(session_id.encode(errors="surrogatepass"), digest_size=16)
    return f"agents#{digest.hexdigest()}"
