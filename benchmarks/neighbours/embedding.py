"""``local/wordllama``, in process, as memrelay's workers have it, for the neighbours' interfaces."""

from __future__ import annotations

from collections.abc import Sequence

from backends.embedding.local import LocalEmbedder
from memrelay.types import vector_from_bytes


class Words(LocalEmbedder):
    """Vectors as lists of numbers, which is how the neighbours take them."""

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        return [vector_from_bytes(vector) for vector in self._embed(list(texts))]
