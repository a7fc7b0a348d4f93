"""While a worker runs whose release knows no members and no spaces, a source gets no new ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from api.app import create, open_state
from backends.journal import ThreadJournal
from backends.journal.journal import PREFIX
from backends.journal.pulse import pulse
from backends.journal.spaces import spaces
from backends.migration import Migration, Order
from backends.reembedding import Reembedding
from memrelay.errors import ConfigError
from tests.bench import Bench
from tests.integration.test_members import state
from tests.integration.test_reembed import NEW, Other

REFUSED = "workers of an earlier release are running: upgrade here:7 first"


@pytest.fixture
def bench(journal_url: str, tmp_path: Path) -> Iterator[Bench]:
    """Two drivers of three are members, and an earlier worker has just beaten."""
    bench = Bench(journal_url, tmp_path, names="abc")
    bench.room.sources._embedders[NEW.model] = Other()
    bench.enter("ab")
    bench.put("x")
    bench.work()
    seconds, _ = bench.run(bench.journal.client.time())
    later = 1000 * (seconds + 600)  # alive still when a slow machine looks
    beat = msgspec.json.encode({"host": "here", "pid": 7, "queues": [], "at": later})
    bench.run(bench.journal.client.hset(f"{PREFIX}workers", "here:7", beat))
    yield bench
    bench.close()


def test_no_space_is_built(bench: Bench) -> None:
    it = Reembedding(bench.journal, bench.room.sources, bench.room.sources.by_name["default"])
    with pytest.raises(ConfigError, match=REFUSED):
        bench.run(it.run(NEW.model))
    assert bench.run(spaces(bench.journal, ["default"]))["default"].building == ""


def test_no_driver_takes_the_place_of_another(bench: Bench) -> None:
    order = Order(frm="a", to="c", source="default", retire=False)
    with pytest.raises(ConfigError, match=REFUSED):
        bench.run(Migration(order, bench.journal, bench.room.sources).run())
    assert state(bench, "c") == "no member"


def test_driver_joins_once_that_worker_is_upgraded(bench: Bench, journal_url: str) -> None:
    settings = bench.room.settings
    alone = {"default": settings.sources["default"].model_copy(update={"drivers": ["a", "b"]})}

    async def answer() -> httpx.Response:
        async with open_state(settings.model_copy(update={"sources": alone})) as opened:
            transport = httpx.ASGITransport(create(opened))
            async with httpx.AsyncClient(transport=transport, base_url="http://it") as http:
                return await http.post("/v1/drivers/c/join", json={})

    refused = bench.run(answer())
    assert (refused.status_code, refused.json()["detail"]) == (409, REFUSED)
    assert state(bench, "c") == "no member"
    thread = ThreadJournal(journal_url)
    thread.beat("here", 7, [])
    thread.close()
    assert bench.run(pulse(bench.journal)).alive == ["here:7"]
    assert bench.run(answer()).status_code == 202
    assert state(bench, "c") == "away"
