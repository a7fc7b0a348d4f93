"""The bound of a provider's answer, and what it leaves room for."""

from __future__ import annotations

import json

import httpx
import pytest

from backends.embedding.answers import RefusedAnswerError, allowed, bound_answers, room_for


@pytest.mark.parametrize("text", ["tea", "\x01" * 1000, "é" * 1000, "日本" * 500, "😀" * 500])
@pytest.mark.parametrize("indent", [None, 4])
def test_the_wordiest_answer_has_room(text: str, indent: int | None) -> None:
    """Texts sent back escaped, numbers with all their digits, a line for each."""
    texts, numbers = [text] * 20, [-0.0123456789012345678] * 1536
    items = [
        {"object": "embedding", "index": i, "embedding": numbers, "text": text} for i in range(20)
    ]
    answer = {"object": "list", "model": "m", "data": items, "usage": {"total_tokens": 7}}
    written = json.dumps(answer, indent=indent).encode()
    room = room_for(texts, 1536)
    assert len(written) <= room <= 4 * len(written) + (1 << 20)


def test_a_blocking_client_is_bounded_alike() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b"x" * 1000))

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        bound_answers(client)
        bound_answers(client)
        assert [len(hooks) for hooks in client.event_hooks.values()] == [1, 1]
        with allowed(1000):
            sent = client.get("http://model")
            assert (sent.text, sent.request.headers["accept-encoding"]) == ("x" * 1000, "identity")
        with allowed(999) as allowance, pytest.raises(RefusedAnswerError, match="999 bytes"):
            client.get("http://model")
        assert allowance.refused == "the answer is larger than 999 bytes"
