"""Which embedder a model's name leads to, and what a wrong one is told."""

from __future__ import annotations

import sys

import pytest

from backends.embedding import create
from backends.embedding.local import LocalEmbedder
from memrelay.errors import ConfigError


def test_the_local_model_is_made_by_its_name() -> None:
    assert isinstance(create("local/wordllama", {"dimensions": 256}), LocalEmbedder)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("external", "callers bring their vectors"),
        ("local/other", "local/wordllama"),
        ("wordllama", "provider/model"),
    ],
)
def test_a_name_without_an_embedder_is_a_config_error(model: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        create(model, {})


def test_the_local_model_takes_no_options() -> None:
    with pytest.raises(ConfigError, match="takes no options"):
        create("local/wordllama", {"api_key": "k"})


def test_a_remote_model_without_litellm_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)  # as if it were not installed
    for loaded in ("backends.embedding.remote", "backends.embedding.errors"):
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    with pytest.raises(ConfigError) as caught:
        create("openai/text-embedding-3-small", {})
    assert "pip install 'memrelay[litellm]'" in str(caught.value)
    assert "\n" not in str(caught.value)
