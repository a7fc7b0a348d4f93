"""The client against a running memrelay."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import get_args
from uuid import uuid4

import pytest

from memrelay import AsyncMemrelay, Memrelay, errors
from memrelay.client import Imported, NewMemory
from memrelay.jobs import JobStatus
from tests.service import Service


@pytest.fixture
def client(service: Service) -> Iterator[Memrelay]:
    with Memrelay(service.url) as client:
        yield client


@pytest.fixture
async def aclient(service: Service) -> AsyncIterator[AsyncMemrelay]:
    async with AsyncMemrelay(service.url) as client:
        yield client


def test_what_was_added_is_found(client: Memrelay, user: str) -> None:
    ana: NewMemory = {
        "text": "Ana is allergic to peanuts.",
        "user_id": user,
        "tags": ["food"],
        "metadata": {"category": "fact"},
    }
    accepted = client.add([ana, {"text": "Ana rides a bicycle.", "user_id": user}], wait=60)
    assert accepted.job.settled
    answer = client.search("who is allergic to peanuts?", user_id=user, top_k=1)
    (hit,) = answer.hits
    assert hit.text == "Ana is allergic to peanuts."
    assert (hit.id, hit.version) == (accepted.memories[0].id, accepted.memories[0].version)
    assert (hit.tags, hit.metadata) == (("food",), {"category": "fact"})
    assert client.get(hit.id).created_at == hit.created_at
    assert client.count(user_id=user).count == 2
    assert client.count(user_id=user, filter={"tags": "food"}).count == 1


def test_a_search_may_wait_for_a_job(client: Memrelay, user: str) -> None:
    accepted = client.add({"text": "Ana plays the cello.", "user_id": user})
    answer = client.search("cello", user_id=user, after_job=accepted.job.id, timeout=60)
    assert [hit.text for hit in answer.hits] == ["Ana plays the cello."]


def test_a_search_may_weigh_what_is_new(client: Memrelay, user: str) -> None:
    texts: list[NewMemory] = [
        {"id": f"{user}-{n}", "text": "Ana moves.", "user_id": user, "created_at": created}
        for n, created in enumerate(("2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z"))
    ]
    client.add(texts, wait=60)
    answer = client.search("Ana", user_id=user, recency={"half_life": 3e7, "weight": 0.5})
    assert [hit.id for hit in answer.hits] == [f"{user}-1", f"{user}-0"]


@pytest.mark.parametrize("id", ["plain", "a/b?c#d %20", "..", "ünïcode", "import"])
def test_every_id_can_be_read_and_deleted(client: Memrelay, user: str, id: str) -> None:
    id = f"{user}/{id}" if id != ".." else id
    client.add({"id": id, "text": "x", "user_id": user}, wait=60)
    assert client.get(id).id == id
    assert client.delete(id, wait=60).job.settled
    with pytest.raises(errors.NotFound):
        client.get(id)


def test_many_are_deleted_in_one_request(client: Memrelay, user: str) -> None:
    added = client.add([{"text": f"{n}", "user_id": user} for n in range(5)], wait=60)
    client.delete_many([memory.id for memory in added.memories[:4]], wait=60)
    assert client.count(user_id=user).count == 1


def test_the_same_key_is_the_same_job(client: Memrelay, user: str) -> None:
    memory: NewMemory = {"text": "once", "user_id": user}
    first = client.add(memory, idempotency_key=f"key-{user}")
    assert client.add(memory, idempotency_key=f"key-{user}") == first
    with pytest.raises(errors.InvalidRequest) as raised:
        client.add({"text": "other", "user_id": user}, idempotency_key=f"key-{user}")
    assert raised.value.code == "idempotency_key_reused"


def test_a_job_is_followed_to_its_end(client: Memrelay, user: str) -> None:
    accepted = client.add({"text": "followed", "user_id": user})
    job = client.wait_job(accepted.job.id, timeout=60)
    assert job.status == "stored"
    assert job.ended
    assert list(job.counts) == ["redis", "sqlite"]
    assert (job.primary.total, job.primary.stored) == (1, 1)
    assert job.id in [other.id for other in client.jobs(limit=100).jobs]
    with pytest.raises(errors.NotFound):
        client.job("job_1_1")


def test_waiting_for_a_job_ends_in_time(client: Memrelay, user: str) -> None:
    accepted = client.add({"text": "not waited for", "user_id": user})
    assert client.wait_job(accepted.job.id, timeout=0).status in get_args(JobStatus)


def test_what_is_wrong_names_the_field(client: Memrelay) -> None:
    with pytest.raises(errors.InvalidRequest) as raised:
        client.add([{"text": "fine"}, {"text": " "}])
    assert raised.value.errors == [("/memories/1/text", "is blank")]


def test_a_service_that_works_says_so(client: Memrelay) -> None:
    ready = client.ready()
    assert (ready.accept, ready.search) == (True, True)
    assert ready.drivers == {"redis": True, "sqlite": True}


def _file(path: Path, user: str, count: int) -> Path:
    lines = (json.dumps({"text": f"line {n}", "user_id": user}) for n in range(1, count + 1))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_file_imported_twice_is_stored_once(client: Memrelay, user: str, tmp_path: Path) -> None:
    file = _file(tmp_path / "a.ndjson", user, 5200)
    for _ in range(2):
        told: list[int] = []
        done = client.import_ndjson(file, progress=lambda p, told=told: told.append(p.line))  # type: ignore[misc]
        assert (done.accepted, done.refused, done.line) == (5200, 0, 5200)
        assert told == [5000, 5200]
        assert done.job is not None
        assert client.wait_job(done.job, timeout=300).status == "stored"
        assert client.count(user_id=user).count == 5200


def test_an_import_in_two_runs_is_the_import_in_one(
    client: Memrelay, user: str, tmp_path: Path
) -> None:
    """Ids follow from key and line number, whatever the parts and wherever a run began."""
    file = _file(tmp_path / "a.ndjson", user, 5010)
    whole = client.import_ndjson(file, idempotency_key=f"k-{user}")
    rest = client.import_ndjson(file, idempotency_key=f"k-{user}", from_line=4001)
    assert (whole.accepted, rest.accepted) == (5010, 1010)
    assert rest.job == whole.job
    assert whole.job is not None
    assert client.wait_job(whole.job, timeout=300).status == "stored"
    assert client.count(user_id=user).count == 5010


async def test_refused_lines_are_named_by_their_number(aclient: AsyncMemrelay, user: str) -> None:
    good = json.dumps({"text": "good", "user_id": user})
    lines = [good] * 5001 + ["{", "", '{"text":" "}', good]
    done: Imported = await aclient.import_ndjson(lines, idempotency_key=str(uuid4()))
    assert (done.accepted, done.refused, done.line) == (5002, 2, 5005)
    assert [(refusal.line, refusal.code) for refusal in done.refusals] == [
        (5002, "not_json"),
        (5004, "invalid"),
    ]
    assert done.refusals[1].detail == "/text is blank"
