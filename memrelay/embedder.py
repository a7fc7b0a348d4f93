"""The embedder contract: texts in, one vector for each out, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memrelay.types import Space


class Embedder(Protocol):
    """One model. ``open`` before use; the same instance serves one event loop."""

    space: Space
    max_inputs: int
    """How many texts one ``embed`` takes at most."""

    async def open(self) -> None:
        """Load or probe the model; ``Permanent`` when it is missing or has another dimension."""
        ...

    async def close(self) -> None: ...

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        """Float32 bytes for each text, in the order of ``texts``.

        Each is of the space's dimension, finite and not zero (the worker checks it again). Raises
        ``Transient`` or ``Permanent`` for the whole call.
        """
        ...
