"""The Memory Driver System on memrelay: ``get_memory_driver()`` and what its document names.

Methods, signatures and settings are the document's. What it leaves open is fixed here, alike on every
driver of ours:

- A memory is a dict: ``id``, ``content``, ``score`` (higher is better; None where nothing was asked for),
  ``tags``, ``metadata``, ``created_at`` (RFC 3339, UTC), ``user_id``, ``conversation_id``. Global knowledge
  has ``category``, ``title`` and ``doc_id`` instead of the last two, in its ``metadata`` as well. ``memory``
  repeats ``content``, ``tags`` and ``metadata``, where clients of AutoMem look for them.
- Ids are strings, also where a table's are numbers. Users and conversations may be given as numbers.
- ``recall`` without a query gives the newest first; with ``use_vector=False`` it goes by words.
- A category is taken in lower case. A document with the ``doc_id`` of an earlier one replaces it.
- ``delete`` with a ``user_id`` deletes that user's memory or nothing (False); it never deletes knowledge.
- What is stored is found by the next call. ``relay`` waits 30 s for the service's primary driver to have it;
  after that it is accepted, and found later.
- ``health_check`` never raises: ``status`` is ``healthy`` or ``unhealthy`` (``hybrid`` may be ``degraded``),
  with ``driver``, ``connected``, and ``error``. All else raises: ``ValueError`` for wrong arguments and
  unknown drivers, ``memrelay.errors`` for the rest. When its server cannot be reached ``pgvector`` raises
  what is ``Unavailable`` and ``OperationalError`` of psycopg, and of psycopg2 where that is in use.

Drivers of ours can be used by many threads at once, and after a fork (``weaviate`` only if its first call
comes after it).
"""

from memrelay.compat.memory_driver.base import BaseMemoryDriver
from memrelay.compat.memory_driver.manager import (
    MemoryDriverManager,
    get_memory_driver,
    set_memory_driver,
)

__all__ = [
    "BaseMemoryDriver",
    "MemoryDriverManager",
    "get_memory_driver",
    "set_memory_driver",
]
