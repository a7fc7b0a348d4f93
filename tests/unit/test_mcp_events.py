"""An event of mem0's tools is a job: what its status says of the stores."""

from __future__ import annotations

import pytest

from api.mcp.mem0 import status_of
from memrelay.client import Job
from memrelay.jobs import DriverCounts, JobStatus, MemoryFailure


def job(status: JobStatus, **stored_failed_unsynced: tuple[int, int, int]) -> Job:
    """Of two memories; the first driver is the primary."""
    counts = {
        name: DriverCounts(total=2, stored=stored, failed=failed, needs_sync=unsynced)
        for name, (stored, failed, unsynced) in stored_failed_unsynced.items()
    }
    return Job(id="job_1_2", status=status, total=2, counts=counts)


@pytest.mark.parametrize(
    ("of", "status"),
    [
        (job("accepted", first=(0, 0, 0), second=(0, 0, 0)), "PENDING"),
        (job("processing", first=(0, 0, 0), second=(0, 0, 0)), "RUNNING"),
        (job("processing", first=(1, 0, 0), second=(2, 0, 0)), "RUNNING"),
        (job("processing", first=(2, 0, 0), second=(0, 0, 0)), "SUCCEEDED"),
        (job("stored", first=(2, 0, 0), second=(2, 0, 0)), "SUCCEEDED"),
        (job("partial", first=(2, 0, 0), second=(1, 1, 0)), "SUCCEEDED"),
        (job("partial", first=(1, 1, 0), second=(2, 0, 0)), "FAILED"),
        (job("failed", first=(0, 2, 0), second=(0, 2, 0)), "FAILED"),
        (job("partial", first=(0, 0, 2), second=(2, 0, 0)), "SUCCEEDED"),
        (job("processing", first=(0, 0, 2), second=(0, 0, 0)), "RUNNING"),
        (job("canceled"), "FAILED"),
    ],
)
def test_status_is_that_of_the_store_that_is_read(of: Job, status: str) -> None:
    assert status_of(of).status == status


def test_failure_names_its_memory_and_cause() -> None:
    failure = MemoryFailure("m1", 7, "second", "too_long", "longer than the model takes")
    failed = job("partial", first=(2, 0, 0), second=(1, 1, 0)).model_copy(
        update={"errors": (failure,)}
    )
    (told,) = status_of(failed).failures
    assert told.model_dump() == {
        "memory_id": "m1",
        "driver": "second",
        "code": "too_long",
        "detail": "longer than the model takes",
    }
    assert status_of(failed).drivers["second"].failed == 1
