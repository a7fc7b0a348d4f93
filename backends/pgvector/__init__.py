"""The pgvector driver: see layout.py for what lies where, search.py for when an answer is exact."""

from backends.pgvector.driver import create

__all__ = ["create"]
