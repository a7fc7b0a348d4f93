"""Remote models: real LiteLLM against a real server that fails on purpose."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest

from backends.embedding import create
from memrelay.embedder import Embedder
from memrelay.errors import ConfigError, MemrelayError, Permanent, Transient, Unavailable
from memrelay.testing.model_server import Behaviour, ModelServer, vector_of
from memrelay.types import Space
from tests.flood import FLOOD, Flood
from tests.loud import QUOTED, LoudModel

# LiteLLM hands base64 through a pydantic model of floats; the product ignores the warning, but
# pytest puts its own filters in place for each test.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")

MODEL = "openai/test-model"
TEXTS = ["Alice likes tea.", "日本語", "", "x" * 5000]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(Behaviour(dimensions=64)) as server:
        yield server


async def opened(server: ModelServer, model: str = MODEL, **options: Any) -> Embedder:
    settings = {"api_base": server.url, "api_key": "secret", "timeout": 20.0} | options
    embedder = create(model, settings)
    await embedder.open()
    return embedder


@pytest.fixture
async def remote(server: ModelServer) -> AsyncIterator[Embedder]:
    embedder = await opened(server, dimensions=64)
    yield embedder
    await embedder.close()


def expected(texts: list[str], dimensions: int = 64) -> list[bytes]:
    return [vector_of(text, dimensions) for text in texts]


async def test_each_text_has_its_own_vector_in_order(remote: Embedder) -> None:
    assert await remote.embed(TEXTS) == expected(TEXTS)
    assert remote.space == Space(MODEL, 64)


async def test_no_texts_cost_no_call(server: ModelServer, remote: Embedder) -> None:
    assert await remote.embed([]) == []
    assert server.stats.calls == 0


async def test_the_dimension_is_found_out_when_no_option_says_it(server: ModelServer) -> None:
    server.behave(dimensions=24)
    embedder = await opened(server)
    assert embedder.space == Space(MODEL, 24)
    await embedder.close()


async def test_a_configured_dimension_starts_without_the_provider(server: ModelServer) -> None:
    server.behave(fault="unavailable")
    embedder = await opened(server, dimensions=64)
    assert (embedder.space.dimensions, server.stats.calls) == (64, 0)


async def test_a_dimension_is_asked_for_where_the_model_can_be_asked(server: ModelServer) -> None:
    embedder = await opened(server, "openai/text-embedding-3-small", dimensions=32)
    assert await embedder.embed(["a"]) == expected(["a"], 32)
    await embedder.close()


@pytest.mark.parametrize("model", ["openai/m", "hosted_vllm/m", "openai_like/m", "lm_studio/m"])
@pytest.mark.parametrize("encoding", ["base64", "float"])
async def test_providers_and_encodings_give_the_same_vectors(
    server: ModelServer, model: str, encoding: str
) -> None:
    embedder = await opened(server, model, encoding=encoding)
    assert await embedder.embed(TEXTS) == expected(TEXTS)
    await embedder.close()


async def test_an_answer_in_another_order_is_put_right_by_its_indexes(
    server: ModelServer, remote: Embedder
) -> None:
    server.behave(fault="reversed")
    assert await remote.embed(TEXTS) == expected(TEXTS)


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("rate_limit", Transient, "embedding_rate"),
        ("error", Unavailable, "embedding_unavailable"),
        ("unavailable", Unavailable, "embedding_unavailable"),
        ("disconnect", Unavailable, "embedding_unavailable"),
        ("garbage", Transient, None),
        ("short", Transient, "embedding_count"),
        ("duplicate", Transient, "embedding_count"),
        ("dimension", Transient, "embedding_dimension"),
        ("nan", Permanent, "embedding_value"),
        ("zero", Permanent, "embedding_value"),
        ("unauthorized", Unavailable, "embedding_credentials"),
        ("not_found", Unavailable, "embedding_model"),
        ("too_long", Permanent, "embedding_too_long"),
    ],
)
@pytest.mark.parametrize("encoding", ["base64", "float"])
async def test_a_fault_is_translated_after_one_call_and_the_next_call_succeeds(
    server: ModelServer, fault: str, kind: type[MemrelayError], code: str | None, encoding: str
) -> None:
    embedder = await opened(server, dimensions=64, encoding=encoding)
    server.behave(fault=fault, times=1)
    with pytest.raises(kind) as caught:
        await embedder.embed(TEXTS)
    assert code in (None, caught.value.code)
    assert server.stats.calls == 1, "a retry of LiteLLM's own"
    assert await embedder.embed(TEXTS) == expected(TEXTS)
    await embedder.close()


@pytest.mark.parametrize("fault", ["rate_limit", "unavailable"])
async def test_retry_after_is_handed_on(server: ModelServer, remote: Embedder, fault: str) -> None:
    server.behave(fault=fault, retry_after=17)
    with pytest.raises(Transient) as caught:
        await remote.embed(["a"])
    assert caught.value.retry_after == 17


async def test_a_provider_that_hangs_is_left_at_the_timeout(server: ModelServer) -> None:
    embedder = await opened(server, dimensions=64, timeout=2.0)
    await embedder.embed(["warm"])
    server.behave(fault="hang", times=1)
    started = asyncio.get_running_loop().time()
    with pytest.raises(Transient) as caught:
        await embedder.embed(["a"])
    assert caught.value.code == "embedding_timeout"
    assert asyncio.get_running_loop().time() - started < 20
    assert await embedder.embed(["a"]) == expected(["a"])
    await embedder.close()


async def test_a_provider_that_cannot_be_reached_is_unavailable() -> None:
    server = ModelServer()
    await server.start()
    await server.stop()
    embedder = await opened(server, dimensions=64)
    with pytest.raises(Unavailable):
        await embedder.embed(["a"])


async def test_poison_is_permanent_and_the_other_texts_are_not_to_blame(
    server: ModelServer, remote: Embedder
) -> None:
    server.behave(poison="arsenic")
    with pytest.raises(Permanent) as caught:
        await remote.embed(["tea", "arsenic cake"])
    assert caught.value.code == "embedding_refused"
    assert await remote.embed(["tea"]) == expected(["tea"])


async def test_a_large_request_is_split_and_calls_at_once_are_bounded(server: ModelServer) -> None:
    server.behave(max_inputs=10, latency=0.2)
    embedder = await opened(server, dimensions=64, inputs_per_call=10, concurrency=3)
    texts = [f"text {number}" for number in range(95)]
    assert await embedder.embed(texts) == expected(texts)
    assert (server.stats.calls, server.stats.most_inputs) == (10, 10)
    assert server.stats.most_at_once == 3
    await embedder.close()


async def test_a_call_holds_no_more_tokens_than_allowed(server: ModelServer) -> None:
    embedder = await opened(server, dimensions=64, tokens_per_call=1000)
    texts = ["x" * 1500] * 6
    assert await embedder.embed(texts) == expected(texts)
    assert server.stats.calls == 6
    await embedder.close()


async def test_one_part_that_fails_fails_the_whole_call(server: ModelServer) -> None:
    embedder = await opened(server, dimensions=64, inputs_per_call=2)
    server.behave(fault="error", times=1)
    with pytest.raises(Unavailable):
        await embedder.embed(["a", "b", "c", "d"])
    assert server.stats.calls == 2
    await embedder.close()


async def test_a_text_longer_than_the_model_takes_is_cut(server: ModelServer) -> None:
    embedder = await opened(server, dimensions=64, max_tokens=100)
    assert await embedder.embed(["y" * 5000, "short"]) == expected(["y" * 299, "short"])
    await embedder.close()


async def test_the_rate_limit_is_kept_before_the_provider_has_to(server: ModelServer) -> None:
    embedder = await opened(server, dimensions=64, requests_per_minute=2)
    await embedder.embed(["a"])
    results = await asyncio.gather(
        *(embedder.embed(["b"]) for _ in range(8)), return_exceptions=True
    )
    for error in results:
        assert isinstance(error, Transient)
        assert error.retry_after is not None
        assert 5 < error.retry_after <= 30.1  # less than 30 by how long ago the first call was
    assert server.stats.calls == 1
    await embedder.close()


async def test_an_embedder_serves_one_loop_after_another(server: ModelServer) -> None:
    """Each worker child has its own loop; LiteLLM's cached connections must not tie it to an old one."""

    async def once() -> list[bytes]:
        embedder = await opened(server, dimensions=64)
        vectors = await embedder.embed(["a"])
        await embedder.close()
        return vectors

    for _ in range(2):
        assert await asyncio.to_thread(lambda: asyncio.run(once())) == expected(["a"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"colour": "red"}, "colour"),
        ({"timeout": 0}, "timeout"),
        ({"dimensions": "x"}, "dimensions"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        create(MODEL, options)
    assert "\n" not in str(caught.value)


def test_a_provider_that_litellm_does_not_know_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="no such provider") as caught:
        create("nonsense/model", {})
    assert "\n" not in str(caught.value)


async def test_neither_key_nor_text_is_logged_or_printed(
    server: ModelServer,
    remote: Embedder,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    server.behave(fault="error", times=1)
    with pytest.raises(Unavailable) as caught:
        await remote.embed(["my private words"])
    await remote.embed(["my private words"])
    said = caplog.text + "".join(capfd.readouterr()) + str(caught.value) + repr(remote)
    assert "private words" not in said
    assert "secret" not in said


class Elsewhere:
    """Another host, and a server that sends everybody there."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        elsewhere = self

        class There(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"] or 0))
                elsewhere.reached.append(f"{self.headers} {body!r}")
                self._answer(200)

            do_GET = do_POST

            def _answer(self, status: int, **headers: str) -> None:
                self.send_response(status)
                for name, value in {**headers, "content-length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        class Sends(There):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                port = elsewhere._there.server_address[1]
                self._answer(307, location=f"http://127.0.0.2:{port}{self.path}")

        self._there = ThreadingHTTPServer(("127.0.0.2", 0), There)
        self._sends = ThreadingHTTPServer(("127.0.0.1", 0), Sends)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._sends.server_address[1]}"

    def __enter__(self) -> Self:
        for server in (self._there, self._sends):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._there, self._sends):
            server.shutdown()
            server.server_close()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as elsewhere:
        yield elsewhere


PROVIDERS = [
    "openai/m",
    "azure/m",
    "cohere/embed-english-v3.0",
    "gemini/m",
    "hosted_vllm/m",
    "jina_ai/m",
    "mistral/m",
    "voyage/m",
]


@pytest.mark.parametrize("model", PROVIDERS)
async def test_no_redirect_carries_a_text_or_a_key_elsewhere(
    elsewhere: Elsewhere, model: str
) -> None:
    """Azure and Gemini have the key in a header of their own, which no HTTP client takes for one."""
    settings = {"api_base": elsewhere.url, "api_key": "secret", "dimensions": 8}
    embedder = create(model, settings)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await embedder.embed(["my private words"])
    await embedder.close()
    assert elsewhere.reached == []


async def test_a_key_out_of_the_environment_is_in_no_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-of-the-environment")
    with LoudModel() as model:
        model.status = 400
        embedder = create("openai/loud", {"api_base": model.url, "dimensions": 8})
        with pytest.raises(Permanent, match=r"Bearer \*\*\* may not send") as caught:
            await embedder.embed([QUOTED])
        await embedder.close()
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("model", PROVIDERS)
async def test_of_an_answer_without_end_no_more_is_read_than_was_asked_for(
    model: str, status: int
) -> None:
    with Flood(status=status) as flood:
        embedder = create(model, {"api_base": flood.url, "api_key": "secret", "dimensions": 8})
        with pytest.raises(Transient, match=r"the answer is larger than 1,[0-9,]+ bytes") as caught:
            await embedder.embed(["a"])
        await embedder.close()
    assert caught.value.code == "embedding_answer"
    assert flood.sent < FLOOD // 2  # the buffers of both sockets


@pytest.mark.parametrize("model", PROVIDERS)
async def test_a_compressed_answer_is_refused_before_it_is_inflated(model: str) -> None:
    with Flood(compressed=True) as flood:
        embedder = create(model, {"api_base": flood.url, "api_key": "secret", "dimensions": 8})
        with pytest.raises(Transient, match="the answer is compressed") as caught:
            await embedder.embed(["a"])
        await embedder.close()
    assert caught.value.code == "embedding_answer"
