"""Models of sentence-transformers, which is not installed here: what is said then, and a stand-in.

With the package and its model the embedder was tried by hand; see docs/decisions.md.
"""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backends.embedding import create
from memrelay.errors import ConfigError
from memrelay.types import vector_from_bytes

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def stand_in(known: set[str], reachable: bool) -> ModuleType:
    """Of the package: as much of ``SentenceTransformer`` as is used."""

    class SentenceTransformer:
        def __init__(self, name: str, *, local_files_only: bool = False) -> None:
            if name not in known and (local_files_only or not reachable):
                raise OSError("not cached,\nand no network")

        def encode(self, texts: Any, **_: Any) -> Any:
            one = np.array([3.0, 4.0], dtype=np.float64)
            return one if isinstance(texts, str) else np.stack([one] * len(texts))

    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = SentenceTransformer  # type: ignore[attr-defined]
    return module


def test_a_missing_package_is_named() -> None:
    with pytest.raises(ConfigError, match="pip install sentence-transformers"):
        create(MODEL, {})


async def test_a_model_that_is_there_is_loaded_silently(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", stand_in({MODEL}, reachable=False))
    embedder = create(MODEL, {})
    assert (embedder.space.model, embedder.space.dimensions) == (MODEL, 2)
    assert [vector_from_bytes(v) for v in await embedder.embed(["a", "b"])] == [[3, 4], [3, 4]]
    assert caplog.records == []


def test_the_first_download_is_announced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", stand_in(set(), reachable=True))
    with caplog.at_level(logging.WARNING):
        create(MODEL, {})
    assert "Downloading sentence-transformers model" in caplog.text


def test_a_model_that_cannot_be_had_is_an_error_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", stand_in(set(), reachable=False))
    with pytest.raises(ConfigError, match="cannot be loaded") as raised:
        create(MODEL, {})
    assert "\n" not in str(raised.value)


def test_a_folder_may_hold_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", stand_in({"/models/mini"}, False))
    assert create("sentence-transformers//models/mini", {}).space.dimensions == 2


def test_it_takes_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="takes no options"):
        create(MODEL, {"api_key": "x"})
