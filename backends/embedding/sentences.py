"""``sentence-transformers/<model>``: models of that package, which is not among our extras (it brings torch).

For vectors that were made by it elsewhere, as the document's pgvector driver does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from memrelay.errors import ConfigError
from memrelay.types import Space

PREFIX = "sentence-transformers/"
MAX_INPUTS = 256

log = logging.getLogger("memrelay.embedding")


class SentenceEmbedder:
    """The model is loaded when this is made; the first time ever it is downloaded, which is said aloud.

    ``sentence-transformers/`` before an absolute path means the model in that folder.
    """

    def __init__(self, model: str) -> None:
        self._model = _load(model)
        self.space = Space(model, len(self._model.encode("dimensions")))
        self.max_inputs = MAX_INPUTS

    async def open(self) -> None:
        """Nothing to do: the model was loaded when the embedder was made."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        return await asyncio.to_thread(self._embed, list(texts))

    def _embed(self, texts: list[str]) -> list[bytes]:
        vectors = self._model.encode(texts, convert_to_numpy=True, show_progress_bar=False)
        return [vector.astype("<f4").tobytes() for vector in vectors]


def _load(model: str) -> Any:
    try:
        transformer = import_module("sentence_transformers").SentenceTransformer
    except ImportError:
        raise ConfigError(
            f"{model}: the package is missing: pip install sentence-transformers"
        ) from None
    name = model.removeprefix(PREFIX)
    name = name if name.startswith("/") else model
    try:
        return transformer(name, local_files_only=True)
    except (OSError, ValueError):
        log.warning(
            "Downloading sentence-transformers model %s (all-MiniLM-L6-v2 is about 90 MB); "
            "this is done once",
            name,
        )
    try:
        return transformer(name)
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise ConfigError(f"{model} cannot be loaded: {said}") from None
