"""Embedders: the local model, and whatever LiteLLM speaks to, by the name of the model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from backends.embedding.local import LocalEmbedder
from backends.embedding.sentences import PREFIX, SentenceEmbedder
from memrelay.embedder import Embedder
from memrelay.errors import ConfigError

LOCAL_MODELS: Mapping[str, Callable[[], Embedder]] = {"local/wordllama": LocalEmbedder}

# LiteLLM reads these when it is imported, which no module outside this package does: without the
# first it fetches a list of prices from the network; the second is the only way to switch off its
# retries (it takes ``max_retries=0`` for unset).
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", DEFAULT_MAX_RETRIES="0", LITELLM_LOG="ERROR")


def create(model: str, options: Mapping[str, Any]) -> Embedder:
    """The embedder of ``model``, not opened; ``ConfigError`` says in one line what is wrong.

    Call it once before a process forks: what it imports and loads is then shared by the children.
    """
    if model == "external":
        raise ConfigError('embedding "external" has no embedder: callers bring their vectors')
    if model in LOCAL_MODELS:
        embedder = LOCAL_MODELS[model]()
        if options.keys() - {"dimensions"}:
            raise ConfigError(f"models.{model}: a local model takes no options")
        return embedder
    if model.startswith("local/"):
        raise ConfigError(f"there is no model {model!r}; local are: {', '.join(LOCAL_MODELS)}")
    if model.startswith(PREFIX):
        if options.keys() - {"dimensions"}:
            raise ConfigError(f"models.{model}: a local model takes no options")
        return SentenceEmbedder(model)
    if "/" not in model:
        raise ConfigError(f"embedding {model!r} is neither provider/model nor a local model")
    return _create_remote(model, options)


def _create_remote(model: str, options: Mapping[str, Any]) -> Embedder:
    """Imported on demand: LiteLLM takes seconds to import, and is an extra."""
    try:
        remote = import_module("backends.embedding.remote")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "litellm":
            raise
        raise ConfigError(
            f"embedding {model!r} needs LiteLLM: pip install 'memrelay[litellm]'"
        ) from None
    embedder: Embedder = remote.create(model, options)
    return embedder
