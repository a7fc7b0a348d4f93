"""The journal (Redis): payload, order and truth of everything accepted."""

from backends.journal.envelope import Drop, Put, Write, encode_vectors, encode_write
from backends.journal.journal import (
    Claim,
    Claimed,
    DriverResult,
    Entered,
    Journal,
    KeyReused,
    Settlement,
    Swept,
    Unit,
    check_durable,
)
from backends.journal.sweep import ThreadJournal

__all__ = [
    "Claim",
    "Claimed",
    "DriverResult",
    "Drop",
    "Entered",
    "Journal",
    "KeyReused",
    "Put",
    "Settlement",
    "Swept",
    "ThreadJournal",
    "Unit",
    "Write",
    "check_durable",
    "encode_vectors",
    "encode_write",
]
