"""A remote model, 50 ms a call, through LiteLLM: few calls, none for a text seen before, and when it
fails, nothing is lost and no vector is given to another text."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from benchmarks.load import run_load
from deploy.native.redis import RedisServer
from memrelay.testing.model_server import vector_of
from tests.oracle import Accepted, digest_of, misaligned
from tests.rig import Rig, memory, wait_until

log = logging.getLogger(__name__)
ROOT = Path(__file__).parent.parent.parent
DIMENSIONS = 64
CLIENTS = 64
SINGLES = 3000
MEMORIES_PER_CALL = 32
CALL_SECONDS = 2.0
OUTAGE_SECONDS = 2.0
WELL_AGAIN_SECONDS = 20.0
POISON = "a text that the model refuses"


class Model:
    """The model server in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "memrelay.testing.model_server"]
            + ["--latency-ms", "50", "--dimensions", str(DIMENSIONS)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().rpartition(" ")[2].strip()
        self._http = httpx.Client(base_url=self.url.removesuffix("/v1"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._process.kill()
        self._process.communicate()

    def behave(self, **changes: Any) -> None:
        self._http.post("/control", json=changes).raise_for_status()

    @property
    def stats(self) -> dict[str, int]:
        stats: dict[str, int] = self._http.get("/stats").json()
        return stats

    @property
    def calls(self) -> int:
        return self.stats["calls"]


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as model:
        yield model


@pytest.fixture
def rig(
    tmp_path: Path, redis_server_factory: Callable[..., RedisServer], model: Model
) -> Iterator[Rig]:
    options = {
        "api_base": model.url,
        "api_key": "secret",
        "dimensions": DIMENSIONS,
        "timeout": CALL_SECONDS,
    }
    rig = Rig(tmp_path, redis_server_factory, model=options)
    try:
        yield rig.start()
    finally:
        rig.close()


def assert_aligned(rig: Rig, memories: Sequence[dict[str, Any]]) -> None:
    texts = {memory["id"]: memory["text"] for memory in memories}
    for store in rig.stores:
        assert misaligned(rig.settings(store), rig.scope, texts, vector_of) == [], store


def status(rig: Rig, answer: dict[str, Any], *, wait: float = 0.0) -> dict[str, Any]:
    place = f"{rig.service.url}/v1/jobs/{answer['job']['id']}"
    job: dict[str, Any] = httpx.get(place, params={"wait": wait}, timeout=wait + 10).json()
    return job


def write_singles(rig: Rig, memories: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each memory in a request of its own, from 64 clients at once."""
    report = run_load(
        port=rig.service.port,
        path="/v1/memories",
        bodies=[json.dumps({"memories": [memory]}) for memory in memories],
        clients=CLIENTS,
        count=len(memories),
        keep=True,
    )
    assert report["statuses"] == {"202": len(memories)}
    digests = {memory["id"]: digest_of(memory) for memory in memories}
    for answer in map(json.loads, report["answers"]):
        [told] = answer["memories"]
        line = Accepted(told["id"], told["version"], digests[told["id"]], answer["job"]["id"])
        rig.ledger.lines.append(line)
    return report


def test_single_writes_of_64_clients_share_calls_and_known_texts_cost_none(
    rig: Rig, model: Model
) -> None:
    first = [memory(f"a{i}", f"what was said on occasion {i}") for i in range(SINGLES)]
    report = write_singles(rig, first)
    rig.wait_drained(60)
    stats = model.stats
    log.info("%s writes/s, %s calls for %s texts", report["rate"], stats["calls"], stats["inputs"])
    assert stats["inputs"] == SINGLES
    assert stats["inputs"] / stats["calls"] >= MEMORIES_PER_CALL
    again = [memory(f"b{i}", one["text"]) for i, one in enumerate(first)]
    write_singles(rig, again)
    rig.wait_drained(60)
    assert model.stats == stats, "a text seen before was embedded again"
    rig.assert_sound()


@pytest.mark.parametrize(
    "fault",
    ["rate_limit", "error", "unavailable", "hang", "disconnect", "garbage"]
    + ["short", "duplicate", "dimension", "nan", "zero", "unauthorized", "not_found"],
)
def test_what_waits_for_a_failing_model_is_stored_when_it_is_well_again(
    rig: Rig, model: Model, fault: str
) -> None:
    memories = [memory(f"m{i}", f"said on occasion {i} while {fault}") for i in range(100)]
    writer = rig.writer()
    model.behave(fault=fault, retry_after=1)
    answer = writer.put(memories)
    wait_until("a call", lambda: model.calls > 0, 10)
    time.sleep(OUTAGE_SECONDS)
    job = status(rig, answer)
    assert job["status"] in ("accepted", "processing")
    assert job["errors"] == []
    calls = model.calls
    model.behave(fault=None)
    took = rig.wait_drained(WELL_AGAIN_SECONDS)
    log.info("%s: %d calls in %g s, stored %.1f s later", fault, calls, OUTAGE_SECONDS, took)
    assert status(rig, answer)["status"] == "stored"
    assert_aligned(rig, memories)
    rig.assert_sound()
