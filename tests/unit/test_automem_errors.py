"""What AutoMem and httpx say, as memrelay's errors; and the tags, which say nothing."""

from __future__ import annotations

import inspect

import httpx
import pytest

from backends.automem.errors import CLASSES, LONGEST_RETRY_AFTER, refusal, translated
from backends.automem.tags import digest_tag
from memrelay.errors import MemrelayError, Permanent, Transient, Unavailable

WHAT = "memory (AutoMem at http://127.0.0.1:8001)"


def test_every_exception_of_httpx_is_judged() -> None:
    known = {
        kind
        for _, kind in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(kind, Exception)
    }
    assert {kind for kind in CLASSES if kind.__module__ == "httpx"} == known


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (httpx.ConnectError("refused"), Unavailable, "unreachable"),
        (httpx.ReadTimeout("slow"), Unavailable, "timeout"),
        (TimeoutError(), Unavailable, "timeout"),
        (ConnectionResetError("reset"), Unavailable, "unreachable"),
        (httpx.RemoteProtocolError("gone"), Transient, "protocol"),
        (httpx.LocalProtocolError("misuse"), Permanent, "misuse"),
    ],
)
def test_exceptions_become_ours_without_their_text(
    error: Exception, kind: type[MemrelayError], code: str
) -> None:
    with pytest.raises(MemrelayError) as caught, translated(WHAT):
        raise error
    assert type(caught.value) is kind
    assert str(caught.value) == f"{WHAT}: {code}: {type(error).__name__}"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (301, Unavailable, "address"),
        (400, Permanent, "refused"),
        (401, Unavailable, "credentials"),
        (403, Unavailable, "credentials"),
        (404, Unavailable, "address"),
        (405, Unavailable, "address"),
        (408, Transient, "timeout"),
        (413, Permanent, "refused"),
        (414, Unavailable, "address"),
        (422, Permanent, "refused"),
        (429, Transient, "busy"),
        (500, Transient, "automem"),
        (502, Unavailable, "unreachable"),
        (503, Unavailable, "unreachable"),
        (504, Unavailable, "unreachable"),
    ],
)
def test_a_status_decides_the_class(status: int, kind: type[MemrelayError], code: str) -> None:
    error = refusal(WHAT, httpx.Response(status, json={"message": "why"}), None)
    assert type(error) is kind
    assert str(error) == f"{WHAT}: {code}: HTTP {status}: why"


def test_a_message_that_holds_the_token_is_shown_without_it() -> None:
    answer = httpx.Response(401, json={"message": "no such token: s3cret\nand more"})
    message = str(refusal(WHAT, answer, "s3cret"))
    assert message.endswith("no such token: *** and more")


@pytest.mark.parametrize("body", ["<html>Bearer s3cret</html>", "[]", '{"error": "s3cret"}', ""])
def test_what_is_not_automems_is_not_repeated(body: str) -> None:
    message = str(refusal(WHAT, httpx.Response(502, text=body), "s3cret"))
    assert message == f"{WHAT}: unreachable: HTTP 502"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("99999", LONGEST_RETRY_AFTER),
        ("-1", None),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_kept_if_it_makes_sense(given: str, seconds: float | None) -> None:
    error = refusal(WHAT, httpx.Response(429, headers={"Retry-After": given}), None)
    assert isinstance(error, Transient)
    assert error.retry_after == seconds


def test_tags_are_one_level_of_lower_case_and_differ_for_all_names() -> None:
    names = ["Ann", "ann", " ann", "", "a,b", "a:b", "a/b", "ä", "ann\ud800"]
    tags = {digest_tag("user", *parts) for parts in [*((name,) for name in names), ("a", "b"), ()]}
    assert len(tags) == len(names) + 2
    for tag in tags:
        kind, _, digest = tag.partition(":")
        assert kind == "user"
        assert len(digest) == 32
        assert set(digest) <= set("0123456789abcdef")
