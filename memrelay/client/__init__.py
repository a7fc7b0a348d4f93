"""The client: ``AsyncMemrelay``, and ``Memrelay`` for code without an event loop.

Needs httpx and pydantic only. Every call may be repeated safely, and is, for ``patience`` seconds.
"""

from memrelay.client.answers import (
    Accepted,
    Count,
    Hit,
    Job,
    JobPage,
    Readiness,
    SearchAnswer,
    StoredMemory,
    Version,
)
from memrelay.client.blocking import Memrelay
from memrelay.client.client import AsyncMemrelay, NewMemory
from memrelay.client.http import DEFAULT_URL
from memrelay.client.importing import Imported, Refusal, key_of_file

__all__ = [
    "DEFAULT_URL",
    "Accepted",
    "AsyncMemrelay",
    "Count",
    "Hit",
    "Imported",
    "Job",
    "JobPage",
    "Memrelay",
    "NewMemory",
    "Readiness",
    "Refusal",
    "SearchAnswer",
    "StoredMemory",
    "Version",
    "key_of_file",
]
