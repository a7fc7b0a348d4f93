"""Drivers and embedding models, each alone, then all together."""

from __future__ import annotations

from backends.registry import create_driver, create_embedder, load
from backends.sources import EXTERNAL, open_sources
from memrelay.errors import Unavailable
from memrelay.settings import Settings


async def driver(name: str, settings: Settings) -> str:
    driver = create_driver(name, settings.drivers[name])
    try:
        await driver.open()
        await driver.ping()
    finally:
        await driver.close()
    able = driver.capabilities
    return "answers" + (", searches by keyword too" if able.keyword else "")


async def embedding(model: str, settings: Settings) -> str:
    if model == EXTERNAL:
        return "callers bring their vectors"
    options = settings.models.get(model, {})
    embedder = create_embedder(model, options)
    try:
        await embedder.open()
        vectors = await embedder.embed(["a memory"])
    except Unavailable as error:
        find = load("backends.embedding.remote:missing_keys", model)
        if keys := find(model, options):
            reason = f"no key: neither models.{model}.api_key nor {' and '.join(keys)} is set"
            raise Unavailable(reason, code="embedding_credentials") from error
        raise
    finally:
        await embedder.close()
    return f"{len(vectors[0]) // 4} dimensions"


async def together(settings: Settings) -> str:
    """Models and drivers fit together."""
    sources = await open_sources(settings)
    await sources.close()
    return "drivers and models fit together"
