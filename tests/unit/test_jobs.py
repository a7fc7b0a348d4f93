from __future__ import annotations

import pytest

from memrelay.jobs import (
    DELIVER,
    MAINTAIN,
    MAINTENANCE,
    MAX_COUNT,
    STORE,
    DriverCounts,
    Job,
    JobId,
    JobStatus,
    deliver_queue,
    queue_names,
    store_queue,
    task_of,
)


@pytest.mark.parametrize(
    "id", [JobId(0, 1), JobId(2**53 - 1, MAX_COUNT), JobId(1795247039812497, 12)]
)
def test_id_is_read_back(id: JobId) -> None:
    assert JobId.parse(str(id)) == id


@pytest.mark.parametrize(
    "text",
    [
        *("", "job_", "job_1", "job_1_", "job__1", "1_1", "job_x_1", "job_1_1_1", "JOB_1_1"),
        *("job_-1_1", "job_1_-1", "job_1_0", "job_01_1", "job_1_01", "job_A_1", "job_0x1_1"),
        *("job_ 1_1", "job_1_1\n", "job_1__1", "job_+1_1", "job_١_1", "job_1_1 "),
        *(f"job_{2**53:x}_1", f"job_1_{MAX_COUNT + 1:x}", f"job_{'f' * 5000}_1"),
    ],
)
def test_nothing_else_is_an_id(text: str) -> None:
    assert JobId.parse(text) is None


def test_urgent_queues_come_first() -> None:
    assert queue_names(["redis", "sqlite"]) == [
        "deliver.interactive",
        "deliver.bulk",
        "store.redis",
        "store.sqlite",
        "maintenance",
    ]


def test_queue_tells_its_task() -> None:
    assert task_of(deliver_queue("bulk")) == DELIVER
    assert task_of(store_queue("deliver.odd")) == STORE
    assert task_of(MAINTENANCE) == MAINTAIN


def job(status: JobStatus = "processing", *, stored: int = 0, failed: int = 0) -> Job:
    counts = DriverCounts(total=3, stored=stored, failed=failed)
    return Job(
        id="job_1_3",
        status=status,
        source="default",
        lane="interactive",
        total=3,
        primary="redis",
        counts={"redis": counts, "sqlite": DriverCounts(total=3, stored=0, failed=0)},
        accepted_at=0,
        ended_at=None,
    )


@pytest.mark.parametrize("status", ["stored", "partial", "failed", "canceled"])
def test_job_has_ended(status: JobStatus) -> None:
    assert job(status).ended


@pytest.mark.parametrize("status", ["accepted", "processing"])
def test_job_has_not_ended(status: JobStatus) -> None:
    assert not job(status).ended


def test_primary_has_settled_when_every_memory_has_an_outcome_there() -> None:
    assert not job(stored=2).primary_settled
    assert job(stored=3).primary_settled
    assert job(stored=1, failed=2).primary_settled
