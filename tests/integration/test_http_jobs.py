"""Jobs over HTTP: what became of each write, and the list of them, on a running service."""

from __future__ import annotations

import time
from typing import Any

import httpx

from tests.integration.conftest import Refused


def write(http: httpx.Client, text: str) -> str:
    """A memory of its own; the id of its job."""
    answer = http.post("/v1/memories", json={"memories": [{"text": text}]})
    assert answer.status_code == 202
    id: str = answer.json()["job"]["id"]
    return id


def pages(http: httpx.Client, limit: int, **params: Any) -> list[list[str]]:
    """The ids of all pages, each followed by its cursor until there is none."""
    found: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = http.get("/v1/jobs", params={"limit": limit, **cursor, **params}).json()
        found.append([job["id"] for job in answer["jobs"]])
        if answer["cursor"] is None:
            return found
        cursor = {"cursor": answer["cursor"]}


def test_job_says_when_it_was_accepted_and_when_it_ended(http: httpx.Client) -> None:
    id = write(http, "timed")
    job = http.get(f"/v1/jobs/{id}", params={"wait": 60}).json()
    assert job.keys() == {
        "id",
        "status",
        "source",
        "lane",
        "total",
        "counts",
        "errors",
        "accepted_at",
        "ended_at",
        "timings",
    }
    assert (job["id"], job["status"], job["source"]) == (id, "stored", "default")
    assert job["accepted_at"] <= job["ended_at"]


def test_job_says_when_each_driver_worked_on_it(http: httpx.Client) -> None:
    id = write(http, "timed in every driver")
    job = http.get(f"/v1/jobs/{id}", params={"wait": 60}).json()
    timings = job["timings"]
    assert job["accepted_at"] <= timings["started_at"] <= job["ended_at"]
    assert timings["drivers"].keys() == job["counts"].keys()
    for course in timings["drivers"].values():
        assert timings["started_at"] <= course["began_at"] <= course["last_at"] <= job["ended_at"]


def test_waiting_for_a_job_ends_when_the_job_does(http: httpx.Client) -> None:
    id = write(http, "waited for")
    began = time.monotonic()
    job = http.get(f"/v1/jobs/{id}", params={"wait": 60}).json()
    assert job["status"] == "stored"
    assert time.monotonic() - began < 55


def test_jobs_are_listed_newest_first(http: httpx.Client) -> None:
    written = [write(http, f"listed {n}") for n in range(3)]
    answer = http.get("/v1/jobs", params={"limit": 3}).json()
    assert [job["id"] for job in answer["jobs"]] == written[::-1]


def test_pages_hold_every_job_once(http: httpx.Client) -> None:
    written = {write(http, f"paged {n}") for n in range(7)}
    by_two = pages(http, 2)
    assert all(len(page) == 2 for page in by_two[:-1])
    ids = [id for page in by_two for id in page]
    assert len(ids) == len(set(ids))
    assert written <= set(ids)


def test_page_is_full_when_there_are_as_many_jobs(http: httpx.Client) -> None:
    """Each write alone is an envelope of its own; a page reaches over as many as it takes."""
    written = []
    for n in range(70):
        written.append(write(http, f"one of many {n}"))
        time.sleep(0.002)  # so that no two share a commit
    page = http.get("/v1/jobs", params={"limit": 60}).json()
    assert [job["id"] for job in page["jobs"]] == written[::-1][:60]
    assert page["cursor"] is not None
    assert set(written) <= {id for part in pages(http, 60) for id in part}


def test_jobs_can_be_listed_by_status(http: httpx.Client) -> None:
    id = write(http, "stored soon")
    http.get(f"/v1/jobs/{id}", params={"wait": 60})
    assert id in {job for page in pages(http, 100, status="stored") for job in page}
    assert id not in {job for page in pages(http, 100, status="failed") for job in page}


def test_unknown_job_is_not_found(http: httpx.Client, refused: Refused) -> None:
    known = write(http, "known")
    first, count = known.removeprefix("job_").split("_")
    for id in (
        "job_1_1",
        "nonsense",
        f"job_{first}_{int(count, 16) + 999:x}",
        f"job_{int(first, 16) + 10**9:x}_1",
        "job_-1_1",
        "job_i00",
    ):
        refused(http.get(f"/v1/jobs/{id}"), 404)
        refused(http.get(f"/v1/jobs/{id}", params={"wait": 5}), 404)
