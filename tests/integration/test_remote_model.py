"""A remote model, 50 ms a call, through LiteLLM: few calls, none for a text seen before, and when it
fails, nothing is lost and no vector is given to another text."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.load import Load
from memrelay.testing.model_server import FLOOD, vector_of
from tests.model import Model
from tests.oracle import Accepted, digest_of, misaligned
from tests.rig import Rig, memory, redis_servers, wait_until

log = logging.getLogger(__name__)
DIMENSIONS = 64
CLIENTS = 64
SINGLES = 3000
MEMORIES_PER_CALL = 32
CALL_SECONDS = 5.0
OUTAGE_SECONDS = 2.0
WELL_AGAIN_SECONDS = 90.0
POISON_CALLS = 11
POISON = "a text that the model refuses"


@pytest.fixture(scope="module")
def _model() -> Iterator[Model]:
    with Model(DIMENSIONS, latency_ms=50) as model:
        yield model


@pytest.fixture
def model(_model: Model) -> Iterator[Model]:
    """Well, before and after the test."""
    yield _model
    _model.behave(fault=None, times=None, poison=None)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, _model: Model) -> Iterator[Rig]:
    """One for all tests: importing LiteLLM takes long. Use texts of your own: known ones cost no call."""
    directory = tmp_path_factory.mktemp("remote-model")
    options = {
        "api_base": _model.url,
        "api_key": "secret",
        "dimensions": DIMENSIONS,
        "timeout": CALL_SECONDS,
    }
    with redis_servers(directory) as start_redis:
        rig = Rig(directory, start_redis, model=options)
        try:
            rig.start().writer().put([memory("warm", "the worker is ready")])
            rig.wait_drained(180)
            yield rig
        finally:
            rig.close()


def assert_aligned(rig: Rig, memories: Sequence[dict[str, Any]]) -> None:
    texts = {memory["id"]: memory["text"] for memory in memories}
    for store in rig.stores:
        assert misaligned(rig.settings(store), rig.scope, texts, vector_of) == [], store


def status(rig: Rig, answer: dict[str, Any], *, wait: float = 0.0) -> dict[str, Any]:
    place = f"{rig.service.url}/v1/jobs/{answer['job']['id']}"
    job: dict[str, Any] = httpx.get(place, params={"wait": wait}, timeout=wait + 30).json()
    return job


def write_singles(rig: Rig, memories: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each memory in a request of its own, from 64 clients at once."""
    order = {
        "port": rig.service.port,
        "path": "/v1/memories",
        "bodies": [json.dumps({"memories": [memory]}) for memory in memories],
        "clients": CLIENTS,
        "count": len(memories),
        "keep": True,
    }
    report = asyncio.run(Load(order).run())
    assert report["statuses"] == {202: len(memories)}
    digests = {memory["id"]: digest_of(memory) for memory in memories}
    for answer in map(json.loads, report["answers"]):
        [told] = answer["memories"]
        line = Accepted(told["id"], told["version"], digests[told["id"]], answer["job"]["id"])
        rig.ledger.lines.append(line)
    return report


def test_single_writes_of_64_clients_share_calls_and_known_texts_cost_none(
    rig: Rig, model: Model
) -> None:
    before = model.stats
    first = [memory(f"a{i}", f"what was said on occasion {i}") for i in range(SINGLES)]
    report = write_singles(rig, first)
    rig.wait_drained(180)
    stats = model.stats
    calls = stats["calls"] - before["calls"]
    log.info("%s writes/s, %d calls for %d texts", report["rate"], calls, SINGLES)
    assert stats["inputs"] - before["inputs"] == SINGLES
    assert SINGLES / calls >= MEMORIES_PER_CALL
    again = [memory(f"b{i}", one["text"]) for i, one in enumerate(first)]
    write_singles(rig, again)
    rig.wait_drained(180)
    assert model.stats == stats, "a text seen before was embedded again"
    rig.assert_sound()


OUTAGES = [
    "rate_limit",
    "error",
    "unavailable",
    "hang",
    "disconnect",
    "garbage",
    "unauthorized",
    "not_found",
]
WRONG_ANSWERS = ["short", "duplicate", "dimension", "nan", "zero"]


@pytest.mark.parametrize("fault", [*OUTAGES, *WRONG_ANSWERS])
def test_what_waits_for_a_failing_model_is_stored_when_it_is_well_again(
    rig: Rig, model: Model, fault: str
) -> None:
    memories = [memory(f"{fault}{i}", f"said on occasion {i} while {fault}") for i in range(100)]
    before = model.calls
    model.behave(fault=fault, retry_after=1)
    answer = rig.writer().put(memories)
    wait_until("a call", lambda: model.calls > before, 60)
    time.sleep(OUTAGE_SECONDS)
    job = status(rig, answer)
    assert job["status"] in ("accepted", "processing")
    assert job["errors"] == []
    calls = model.calls - before
    model.behave(fault=None)
    took = rig.wait_drained(WELL_AGAIN_SECONDS)
    log.info("%s: %d calls in %g s, stored %.1f s later", fault, calls, OUTAGE_SECONDS, took)
    assert status(rig, answer)["status"] == "stored"
    assert_aligned(rig, memories)


@pytest.mark.parametrize("fault", ["flood", "bomb"])
def test_answers_without_end_leave_the_worker_s_memory_alone(
    rig: Rig, model: Model, fault: str
) -> None:
    """128 MiB each, refused as often as they come; what waited is stored then."""
    memories = [memory(f"{fault}{i}", f"said {i} times to a {fault}") for i in range(100)]
    peaks(rig)
    before = peaks(rig)
    model.behave(fault=fault, times=3)
    answer = rig.writer().put(memories)
    assert status(rig, answer, wait=60)["status"] == "stored"
    assert model.stats["calls"] > 3
    assert_aligned(rig, memories)
    after = peaks(rig)
    assert after.keys() == before.keys()
    grown = {pid: after[pid] - before[pid] for pid in before}
    log.info("%s: peaks of memory grew by %s MiB", fault, [size >> 20 for size in grown.values()])
    assert max(grown.values()) < FLOOD // 4


def peaks(rig: Rig) -> dict[int, int]:
    """The most bytes that each process of the worker has had since this was asked last, by its id."""
    peaks = {}
    for pid in rig.service.worker_children:
        place = Path(f"/proc/{pid}")
        told = re.search(r"VmHWM:\s+(\d+) kB", (place / "status").read_text())
        assert told is not None
        peaks[pid] = int(told[1]) << 10
        (place / "clear_refs").write_text("5")  # the peak is what it has now
    return peaks


def test_a_wrong_key_costs_one_call_a_try(rig: Rig, model: Model) -> None:
    """Nobody is guilty of a wrong setting, so nobody is searched for."""
    before = model.calls
    model.behave(fault="unauthorized")
    answer = rig.writer().put([memory(f"k{i}", f"said with a wrong key {i}") for i in range(512)])
    wait_until("three tries", lambda: model.calls >= before + 3, 60)
    assert status(rig, answer)["counts"]["redis"]["failed"] == 0
    assert model.stats["most_at_once"] <= 4
    model.behave(fault=None)
    rig.wait_drained(WELL_AGAIN_SECONDS)
    assert status(rig, answer)["status"] == "stored"


def test_a_model_that_slips_for_a_dozen_calls_condemns_no_text(rig: Rig, model: Model) -> None:
    """Single texts are refused among others that are not: twice that is laid to the model."""
    memories = [memory(f"s{i}", f"said to a model that slips {i}") for i in range(64)]
    model.behave(fault="nan", times=12)
    answer = rig.writer().put(memories)
    assert status(rig, answer, wait=60)["status"] == "stored"
    assert_aligned(rig, memories)
    rig.assert_sound()


@pytest.mark.parametrize("position", [0, 170, 255, 256, 511])
def test_a_poison_text_among_512_fails_alone_and_its_job_says_why(
    rig: Rig, model: Model, position: int
) -> None:
    memories = [memory(f"p{position}-{i}", f"text {i} beside {position}") for i in range(512)]
    memories[position]["text"] = POISON
    before = model.calls
    model.behave(poison=POISON)
    place = f"{rig.service.url}/v1/memories"
    answer = httpx.post(place, json={"memories": memories}).json()
    job = status(rig, answer, wait=60)
    extra = model.calls - before - 1
    log.info("poison at %d of 512: %d further calls", position, extra)
    assert extra <= POISON_CALLS
    assert job["status"] == "partial"
    for store in rig.stores:
        counts = {"total": 512, "stored": 511, "failed": 1, "needs_sync": 0, "canceled": 0}
        assert job["counts"][store] == counts
    assert {(e["id"], e["version"], e["code"]) for e in job["errors"]} == {
        (f"p{position}-{position}", answer["memories"][position]["version"], "embedding_refused")
    }
    spared = [memory for memory in memories if memory["text"] != POISON]
    assert_aligned(rig, spared)
