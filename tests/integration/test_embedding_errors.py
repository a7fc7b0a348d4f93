"""LiteLLM's exceptions: all of them are translated, and each by its own class."""

from __future__ import annotations

import inspect
from importlib import import_module

import httpx
import pytest

from backends.embedding.errors import TRANSLATION, translate
from memrelay.errors import Permanent, Transient, Unavailable

exceptions = import_module("litellm.exceptions")  # after ours, which keep it off the network


def test_every_exception_of_litellm_is_translated() -> None:
    """Fails when LiteLLM gains one: decide in ``errors.py`` what it means."""
    theirs = {
        thing
        for thing in vars(exceptions).values()
        if inspect.isclass(thing)
        and issubclass(thing, Exception)
        and thing.__module__ == exceptions.__name__
    }
    assert len(theirs) > 25
    assert theirs == set(TRANSLATION)


def limited(headers: dict[str, str]) -> Exception:
    error: Exception = exceptions.RateLimitError("slow down", llm_provider="openai", model="m")
    vars(error)["litellm_response_headers"] = httpx.Headers(headers)
    return error


@pytest.mark.parametrize(
    ("headers", "retry_after"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "1e9"}, 3600.0),
        ({"retry-after": "inf"}, 3600.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_seconds(headers: dict[str, str], retry_after: float | None) -> None:
    translated = translate(limited(headers))
    assert isinstance(translated, Transient)
    assert translated.retry_after == retry_after


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (403, Unavailable, "embedding_credentials"),
        (402, Unavailable, "embedding_credentials"),
        (413, Permanent, "embedding_refused"),
        (520, Unavailable, "embedding_unavailable"),
    ],
)
def test_a_status_without_a_class_of_its_own_is_decided_by_its_number(
    status: int, kind: type[Exception], code: str
) -> None:
    error = exceptions.APIError(status, "no", llm_provider="openai", model="m")
    translated = translate(error)
    assert type(translated) is kind
    assert translated.code == code


def test_a_message_is_one_line_of_bounded_length() -> None:
    error = exceptions.BadRequestError("x" * 5000 + "\nmore", model="m", llm_provider="openai")
    assert len(str(translate(error))) == 500


def test_a_message_is_without_the_secrets_that_the_provider_quotes() -> None:
    said = "Bearer sk-first may not, " + "x" * 440 + " sk-second-that-is-cut-in-two may"
    error = exceptions.BadRequestError(said, model="m", llm_provider="openai")
    message = str(translate(error, {"sk-first", "sk-second-that-is-cut-in-two"}))
    assert "sk-" not in message
    assert "Bearer *** may not" in message
