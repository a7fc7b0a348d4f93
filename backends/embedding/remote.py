"""Remote models through LiteLLM. Retries are ours, not its: an error goes straight to the caller."""

from __future__ import annotations

import asyncio
import base64
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import litellm
import numpy as np
from pydantic import Field, SecretStr

from backends.embedding.answers import allowed, room_for
from backends.embedding.check import check_vectors
from backends.embedding.clients import guard_clients
from backends.embedding.errors import GARBLED, TIMED_OUT, TRANSLATED, translate
from backends.embedding.limiter import Limiter
from backends.embedding.tokens import clip, estimate_tokens, split
from memrelay.errors import ConfigError, Transient
from memrelay.options import Options, parse_options
from memrelay.types import Space

MAX_INPUTS = 8192
_SECRET_NAMES = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
_SHORTEST_SECRET = 8  # characters; what is shorter may be a word of any message

litellm.suppress_debug_info = True
litellm.telemetry = False
guard_clients()
# LiteLLM passes vectors in base64 through a model that is typed list[float], and hears about it.
warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)


class RemoteOptions(Options):
    """What an operator says of a remote model under ``models."provider/model"``."""

    dimensions: int | None = Field(default=None, ge=1, le=4096)
    """Asked for where the model can be asked, and checked; unset, one word is embedded to find out."""
    api_base: str | None = None
    """Base of the provider's API; unset, LiteLLM's own for the provider."""
    api_key: SecretStr | None = None
    """Unset, LiteLLM reads the provider's own variable (``OPENAI_API_KEY``, …)."""
    timeout: float = Field(default=30.0, gt=0)
    """Seconds that one call may take in all."""
    inputs_per_call: int = Field(default=2048, ge=1, le=2048)
    """Texts in one call; some providers take as few as 96."""
    tokens_per_call: int = Field(default=300_000, ge=1)
    """Estimated tokens in one call."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Estimated tokens of one text that the model takes; what is longer is cut at the end."""
    concurrency: int = Field(default=4, ge=1)
    """Calls of this process that are open at once."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Of each process; see ``Limiter``."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Of each process, estimated."""
    encoding: Literal["base64", "float"] = "base64"
    """``float`` for a server that refuses base64; it costs 50 times the CPU (2.5 s for 512 x 1,536)."""


def create(model: str, options: Mapping[str, Any]) -> RemoteEmbedder:
    """``ConfigError`` in one line if LiteLLM has no such provider, or an option is wrong."""
    chosen = parse_options(RemoteOptions, f"models.{model}", options)
    try:
        litellm.get_llm_provider(model)
    except TRANSLATED:
        raise ConfigError(f"embedding {model!r}: LiteLLM knows no such provider") from None
    return RemoteEmbedder(model, chosen)


class RemoteEmbedder:
    """One model of one provider. ``space.dimensions`` is 0 until ``open`` if no option says it."""

    def __init__(self, model: str, options: RemoteOptions) -> None:
        self.space = Space(model, options.dimensions or 0)
        self.max_inputs = MAX_INPUTS
        self._options = options
        self._calls = asyncio.Semaphore(options.concurrency)
        self._limiter = Limiter(
            time.monotonic,
            requests_per_minute=options.requests_per_minute,
            tokens_per_minute=options.tokens_per_minute,
        )
        self._arguments = _arguments(model, options)
        self._secrets = _secrets(options, os.environ)

    async def open(self) -> None:
        """Speaks to the provider only to learn the dimension, so a configured one starts without it."""
        if self.space.dimensions == 0:
            vectors = await self._request(["memory"])
            dimensions = len(vectors[0]) // 4 if vectors else 0
            check_vectors(vectors, count=1, dimensions=dimensions)
            self.space = Space(self.space.model, dimensions)

    async def close(self) -> None:
        """Closes LiteLLM's connections, which it keeps for the whole process."""
        await litellm.close_litellm_async_clients()
        litellm.in_memory_llm_clients_cache.flush_cache()

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        """Split into calls that providers take, a bounded number at once; one that fails fails all."""
        longest = self._options.max_tokens
        if longest is not None:
            texts = [clip(text, longest) for text in texts]
        parts = split(
            texts, inputs=self._options.inputs_per_call, tokens=self._options.tokens_per_call
        )
        answers = await asyncio.gather(
            *(self._embed_part(part) for part in parts), return_exceptions=True
        )
        vectors: list[bytes] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            vectors.extend(answer)
        return vectors

    async def _embed_part(self, texts: Sequence[str]) -> list[bytes]:
        await self._limiter.admit(sum(map(estimate_tokens, texts)))
        async with self._calls:
            vectors = await self._request(texts)
        check_vectors(vectors, count=len(texts), dimensions=self.space.dimensions)
        return vectors

    async def _request(self, texts: Sequence[str]) -> list[bytes]:
        """One call, as it was answered, in the order of ``texts``."""
        with allowed(room_for(texts, self.space.dimensions)) as allowance:
            try:
                async with asyncio.timeout(self._options.timeout):
                    answer = await litellm.aembedding(input=list(texts), **self._arguments)
            except TimeoutError:
                message = f"no answer within {self._options.timeout:g} s"
                raise Transient(message, code=TIMED_OUT) from None
            except TRANSLATED as error:
                if allowance.refused:
                    raise Transient(allowance.refused, code=GARBLED) from error
                raise translate(error, self._secrets) from error
        return _vectors(answer.data)


def _arguments(model: str, options: RemoteOptions) -> dict[str, Any]:
    """Of every call. ``drop_params`` leaves out what the provider does not know, such as dimensions."""
    return {
        "model": model,
        "dimensions": options.dimensions,
        "encoding_format": options.encoding,
        "api_base": options.api_base,
        "api_key": options.api_key.get_secret_value() if options.api_key else None,
        "timeout": options.timeout,
        "max_retries": 0,
        "num_retries": 0,
        "drop_params": True,
        "caching": False,
    }


def _secrets(options: RemoteOptions, environment: Mapping[str, str]) -> frozenset[str]:
    """The key, or what LiteLLM may take for one out of the environment."""
    if options.api_key is not None:
        return frozenset({options.api_key.get_secret_value().strip()} - {""})
    return frozenset(
        text.strip()
        for name, text in environment.items()
        if name.endswith(_SECRET_NAMES) and len(text.strip()) >= _SHORTEST_SECRET
    )


def _vectors(data: Sequence[Any]) -> list[bytes]:
    """By ``index``, not by place; an answer with an index missing or twice is all untrusted."""
    try:
        by_index = {item["index"]: _vector(item["embedding"]) for item in data}
    except (KeyError, TypeError, ValueError) as error:
        raise Transient(f"an answer that is no list of vectors: {error}", code=GARBLED) from None
    return [by_index[index] for index in range(len(by_index)) if index in by_index]


def _vector(embedding: str | Sequence[float]) -> bytes:
    if isinstance(embedding, str):
        return base64.b64decode(embedding, validate=True)
    return np.asarray(embedding, dtype="<f4").tobytes()


def missing_keys(model: str, options: Mapping[str, Any]) -> list[str]:
    """The variables with a key that LiteLLM looks for and are not set; none where ``options`` bring one.

    Some models do without: it explains a failure, it does not foretell one.
    """
    if options.get("api_key"):
        return []
    missing = litellm.validate_environment(model)["missing_keys"]
    return [name for name in missing if name.endswith("_KEY")]
