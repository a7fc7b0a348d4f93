"""Search: semantic, keyword or both fused, from the first drivers that answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
from fastapi import APIRouter, Request, Response

from api.body import at_once, read_model
from api.direct import Direct
from api.meters import FALLBACKS, SEARCHES
from api.models import MAX_TOP_K, Mode, RecencyIn, SearchIn
from api.openapi import operation
from api.problems import Problem, invalid, not_found
from api.reader import Reader, Seen
from api.selection import selection
from api.state import State, namespace_of, state_of
from api.views import hit_view
from backends.sources import Source
from backends.store import Store
from backends.tracing import span
from memrelay.client.answers import SearchAnswer
from memrelay.driver import Query
from memrelay.errors import Transient, Unavailable, Unsupported
from memrelay.fallback import Answer
from memrelay.filters import Filter, required_values
from memrelay.fusion import VECTOR_WEIGHT, fuse, shares, weigh_recency
from memrelay.times import now_us
from memrelay.types import Hit, Scope, vector_to_bytes

router = APIRouter(prefix="/v1", route_class=Direct)
CANDIDATES = 50
"""Of each half of a hybrid search; ``MAX_TOP_K`` of each where the page lies deeper. Fused scores depend on
what else was found: if each page looked as deep as it lies, each would have an order of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search, understood: where it acts, what it asks for and until when."""

    state: State
    source: Source
    scope: Scope
    stores: Sequence[Store]
    body: SearchIn
    mode: Mode
    chosen: Filter | None
    deadline: float

    @property
    def recency(self) -> RecencyIn | None:
        """What age counts; None where it counts nothing."""
        asked = self.body.recency
        return asked if asked is not None and asked.weight > 0 else None

    @property
    def depth(self) -> int:
        """How many hits to ask a driver for; with recency as many for every page: their order is one."""
        return self.body.offset + self.body.top_k if self.recency is None else MAX_TOP_K

    @property
    def left(self) -> float:
        return max(0.01, self.deadline - time.monotonic())

    @property
    def reader(self) -> Reader:
        return Reader(self.state.lag, self.scope, self.source.spaces.active)

    def query(self, *, vector: bytes | None = None, top_k: int) -> Query:
        return Query(
            mode="keyword" if vector is None else "semantic",
            top_k=top_k,
            now=now_us(),
            vector=vector,
            text=self.body.query if vector is None else None,
            filter=self.chosen,
            min_score=self.body.min_score if vector is not None else None,
            include_vector="vector" in self.body.include,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Hits by descending score, the mode that served and by which stores; how far these are behind."""

    hits: Sequence[Hit]
    mode: Mode
    stores: Sequence[Store]
    fallback: bool
    behind: int | None


Half = Answer[Store, Seen[Sequence[Hit]]]
"""What one driver found, by vectors or by keywords."""


@router.post("/search", openapi_extra=operation(SearchAnswer, body=SearchIn))
async def search(request: Request) -> Response:
    """The best memories for a query. All drivers down is 503, never an empty answer."""
    began = time.monotonic()
    state = state_of(request)
    body = await read_model(request, SearchIn, at_once(state.settings))
    namespace = namespace_of(request)
    found = await run(state, body, namespace, began)
    SEARCHES.labels(found.mode).inc()
    FALLBACKS.inc(found.fallback)
    view = {
        "hits": [hit_view(hit, body.include) for hit in found.hits[body.offset :]],
        "mode": found.mode,
        "served_by": [store.name for store in found.stores],
        "fallback": found.fallback,
        "behind": found.behind,
        "took_ms": round(1000 * (time.monotonic() - began), 3),
    }
    return Response(msgspec.json.encode(view), media_type="application/json")


async def run(state: State, body: SearchIn, namespace: str, began: float) -> Found:
    """The best ``offset + top_k`` hits. ``began`` is when its time began to run, monotonic."""
    await _after_job(
        _understand(state, state.source(body.source), body, namespace, began), namespace
    )
    found = await state.read(
        body.source, lambda source: _find(_understand(state, source, body, namespace, began))
    )
    return replace(found, hits=found.hits[: body.offset + body.top_k])


def _understand(
    state: State, source: Source, body: SearchIn, namespace: str, began: float
) -> Search:
    stores = source.stores if body.drivers is None else _named(source, body.drivers)
    asked = source.serving if body.drivers is None else stores
    keyword = any(store.driver.capabilities.keyword for store in asked)
    mode = body.mode or ("hybrid" if keyword and body.query is not None else "semantic")
    if mode != "semantic" and not keyword:
        raise invalid([("/mode", "no driver of this source can search by keyword")])
    if body.vector is not None and len(body.vector) != source.space.dimensions:
        raise invalid([("/vector", f"needs {source.space.dimensions} numbers")])
    if mode != "keyword" and body.vector is None and source.embedder is None:
        raise invalid([("/vector", "this source needs a vector, or mode = keyword")])
    return Search(
        state=state,
        source=source,
        scope=source.scope(namespace),
        stores=stores,
        body=body,
        mode=mode,
        chosen=selection(body, source),
        deadline=began + (body.timeout or state.settings.search_timeout),
    )


def _named(source: Source, names: Sequence[str]) -> list[Store]:
    known = {store.name: store for store in source.stores}
    for index, name in enumerate(names):
        if name not in known:
            detail = f"not a driver of this source: {', '.join(known)}"
            raise invalid([(f"/drivers/{index}", detail)])
    return [known[name] for name in names]


async def _after_job(wanted: Search, namespace: str) -> None:
    if wanted.body.after_job is None:
        return
    job = await wanted.state.waiters.wait(
        namespace, wanted.body.after_job, lambda job: job.primary_settled, wanted.left
    )
    if job is None:
        raise not_found("job")
    if not job.primary_settled:
        raise Problem(504, "not_stored_yet", "The job was not stored in time.", retry_after=1)


async def _find(wanted: Search) -> Found:
    found, asked = await _relevant(wanted), wanted.recency
    if asked is None:
        return found
    hits = shares(found.hits) if found.mode == "keyword" else found.hits
    weighed = weigh_recency(hits, now=now_us(), half_life=asked.half_life, weight=asked.weight)
    return replace(found, hits=weighed)


async def _relevant(wanted: Search) -> Found:
    """Hits by the score of their mode."""
    if wanted.mode == "keyword":
        return _alone(await _by_keyword(wanted, wanted.depth), "keyword")
    if wanted.mode == "semantic":
        return _alone(await _by_vector(wanted, wanted.depth), "semantic")
    depth = CANDIDATES if wanted.depth <= CANDIDATES else MAX_TOP_K
    vectors, keywords = await asyncio.gather(
        _by_vector(wanted, depth), _by_keyword(wanted, depth), return_exceptions=True
    )
    return await _fused(wanted, vectors, keywords)


def _alone(half: Half, mode: Mode, *, fallback: bool = False) -> Found:
    return Found(half.value.value, mode, [half.peer], half.fallback or fallback, half.value.behind)


async def _fused(
    wanted: Search, vectors: Half | BaseException, keywords: Half | BaseException
) -> Found:
    """Both halves fused; one half alone when the other cannot be had for now."""
    if isinstance(keywords, Transient) and not isinstance(vectors, BaseException):
        return _alone(vectors, "semantic", fallback=True)
    if isinstance(vectors, Transient) and not isinstance(keywords, BaseException):
        return _alone(keywords, "keyword", fallback=True)
    if isinstance(vectors, BaseException):
        raise vectors
    if isinstance(keywords, BaseException):
        raise keywords
    unseen = await _unseen(wanted, vectors, keywords)
    stores = list(dict.fromkeys([vectors.peer, keywords.peer]))
    weight = wanted.body.vector_weight
    fused = fuse(
        vectors.value.value,
        keywords.value.value,
        unseen=unseen,
        weight=VECTOR_WEIGHT if weight is None else weight,
    )
    fallback = vectors.fallback or keywords.fallback
    behind = [half.value.behind for half in (vectors, keywords)]
    known = [number for number in behind if number is not None]
    return Found(
        fused, "hybrid", stores, fallback, max(known) if len(known) == len(behind) else None
    )


async def _unseen(wanted: Search, vectors: Half, keywords: Half) -> set[str]:
    """Vector hits that the keyword driver, which is behind, does not hold yet."""
    known = {hit.memory.id for hit in keywords.value.value}
    missing = [hit.memory.id for hit in vectors.value.value if hit.memory.id not in known]
    if not missing or not keywords.value.behind:
        return set()
    try:
        held = await wanted.reader.get([keywords.peer], missing, seconds=wanted.left)
    except Transient:
        return set(missing)
    return {id for id in missing if id not in held.value.value}


async def _by_vector(wanted: Search, top_k: int) -> Half:
    vector = await _vector(wanted)
    query = wanted.query(vector=vector, top_k=top_k)
    try:
        return await wanted.reader.search(wanted.stores, query, seconds=wanted.left)
    except Unsupported:
        free = [store for store in wanted.stores if store.driver.capabilities.unscoped_search]
        if not free or required_values(wanted.chosen, "user_id") is not None:
            raise
        return await wanted.reader.search(free, query, seconds=wanted.left)


async def _by_keyword(wanted: Search, top_k: int) -> Half:
    able = [store for store in wanted.stores if store.driver.capabilities.keyword]
    return await wanted.reader.search(able, wanted.query(top_k=top_k), seconds=wanted.left)


async def _vector(wanted: Search) -> bytes:
    """The query's vector: the caller's, a remembered one, or a new one."""
    if wanted.body.vector is not None:
        return vector_to_bytes(wanted.body.vector)
    embedder, text = wanted.source.embedder, wanted.body.query
    assert embedder is not None
    assert text is not None
    try:
        with span("embed", kind="client", model=embedder.space.model, texts=1):
            async with asyncio.timeout(wanted.left):
                return (await embedder.embed([text]))[0]
    except TimeoutError:
        raise Unavailable(
            "the query could not be embedded in time", code="embedding_timeout"
        ) from None
