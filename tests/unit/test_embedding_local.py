"""The local model, which is real and inside its wheel."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backends.embedding import create
from backends.embedding.check import check_vectors
from backends.embedding.local import DIMENSIONS, LocalEmbedder
from memrelay.embedder import Embedder
from memrelay.errors import Permanent
from memrelay.types import Space, vector_from_bytes

TEXTS = [
    "Alice likes green tea.",
    "She drinks it at 7.",
    "x",
    "日本語のテキスト",
    "a\nb\tc  d",
    "😀",
]


@pytest.fixture
async def local() -> Embedder:
    embedder = create("local/wordllama", {})
    await embedder.open()
    return embedder


@pytest.fixture
def root_handlers_kept() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def cosine(a: bytes, b: bytes) -> float:
    return float(np.dot(vector_from_bytes(a), vector_from_bytes(b)))


async def test_every_text_has_a_vector_that_stores_can_take(local: Embedder) -> None:
    vectors = await local.embed([*TEXTS, "", " ", "\n", "\u200b"])
    check_vectors(vectors, count=len(TEXTS) + 4, dimensions=256)
    assert local.space == Space("local/wordllama", 256)


async def test_vectors_are_unit_vectors_and_the_same_each_time(local: Embedder) -> None:
    first, again = await local.embed(TEXTS), await local.embed(TEXTS[::-1])
    assert first == again[::-1]
    for vector in first:
        assert cosine(vector, vector) == pytest.approx(1.0, abs=1e-6)


async def test_a_text_is_nearer_to_what_it_means(local: Embedder) -> None:
    tea, drink, car = await local.embed(
        ["Alice loves green tea", "what hot drink does Alice like", "the car needs new tyres"]
    )
    assert cosine(tea, drink) > cosine(tea, car) + 0.1


async def test_the_empty_text_has_one_fixed_vector(local: Embedder) -> None:
    (vector,) = await local.embed([""])
    assert vector_from_bytes(vector) == pytest.approx([DIMENSIONS**-0.5] * DIMENSIONS)


async def test_no_texts_have_no_vectors(local: Embedder) -> None:
    assert await local.embed([]) == []


async def test_a_text_that_is_not_unicode_is_permanent(local: Embedder) -> None:
    with pytest.raises(Permanent) as caught:
        await local.embed(["fine", "\ud800"])
    assert caught.value.code == "embedding_text"


@pytest.mark.usefixtures("root_handlers_kept")
async def test_vectors_are_those_of_wordllama(local: Embedder) -> None:
    import wordllama

    package = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=package, disable_download=True)
    theirs = model.embed(TEXTS, norm=True)
    ours = np.frombuffer(b"".join(await local.embed(TEXTS)), dtype="<f4").reshape(-1, 256)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


async def test_a_long_text_is_pooled_like_a_short_one(local: Embedder) -> None:
    """Above 4,096 tokens they are counted instead of gathered; a repeated sentence stays itself."""
    sentence = "the quick brown fox jumps over the lazy dog and "
    short, long = await local.embed([sentence * 300, sentence * 600])
    assert cosine(short, long) == pytest.approx(1.0, abs=1e-4)


async def test_the_event_loop_goes_on_while_texts_are_embedded(local: Embedder) -> None:
    gaps: list[float] = []
    loop = asyncio.get_running_loop()

    async def tick() -> None:
        while True:
            before = loop.time()
            await asyncio.sleep(0.001)
            gaps.append(loop.time() - before)

    ticking = asyncio.create_task(tick())
    started = loop.time()
    await local.embed(["a sentence of several words " * 60] * 2048)
    took = loop.time() - started
    ticking.cancel()
    assert max(gaps) < took / 2


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_nothing_is_fetched_and_no_logger_is_touched() -> None:
    done = run(
        "import asyncio, logging, socket\n"
        "def refuse(*_): raise AssertionError('a connection was tried')\n"
        "socket.socket.connect = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "from backends.embedding import create\n"
        "vectors = asyncio.run(create('local/wordllama', {}).embed(['hello']))\n"
        "assert len(vectors[0]) == 1024\n"
        "assert logging.getLogger().handlers == []\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_child_embeds_what_its_parent_loaded_before_the_fork() -> None:
    done = run(
        "import asyncio, os\n"
        "from backends.embedding import create\n"
        "embedder = create('local/wordllama', {})\n"
        "def threads(): return len(os.listdir('/proc/self/task')) if os.path.exists('/proc') else 0\n"
        "at_first = threads()\n"
        "before = asyncio.run(embedder.embed(['hello', 'world'] * 100))\n"
        "assert threads() == at_first, 'threads of the tokenizer, which a fork would lose'\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    after = asyncio.run(embedder.embed(['hello', 'world'] * 100))\n"
        "    os._exit(0 if after == before else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_two_embedders_share_one_model() -> None:
    assert LocalEmbedder()._model is LocalEmbedder()._model
