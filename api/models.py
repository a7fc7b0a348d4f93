"""What requests look like. Strict: nothing is converted, nothing unknown is let pass."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from memrelay.apikeys import MAX_NAME, SCOPES, KeyScope
from memrelay.errors import InvalidInput
from memrelay.fusion import RECENCY_WEIGHT
from memrelay.jobs import MAX_COUNT
from memrelay.times import parse_time

TEXT_BYTES = 64 * 1024
METADATA_BYTES = 16 * 1024
METADATA_DEPTH = 16
EXACT_INTEGER = 2**53
MAX_TOP_K = 200
MAX_PAGE = 512
ID_CHARACTERS = 256
MAX_TAGS = 64
TAG_CHARACTERS = 128
MAX_DIMENSIONS = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _clean(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds NUL, which no store can keep")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("holds half of a surrogate pair, which is not text") from None
    return text


def identifier(text: str) -> str:
    """``text``, or ``ValueError`` for what no id, user or tag can hold."""
    if text.isprintable():
        return text  # with neither a control character nor half of a surrogate pair
    if _CONTROL.search(text):
        raise ValueError("holds a control character")
    return _clean(text)


def _text(text: str) -> str:
    _clean(text)
    if 4 * len(text) > TEXT_BYTES and len(text.encode()) > TEXT_BYTES:
        raise ValueError(f"is longer than {TEXT_BYTES} bytes; split it")
    if not text or text.isspace():
        raise ValueError("is blank")
    return text


def _microseconds(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError('must be an RFC 3339 time such as "2026-01-31T12:00:00Z"')
    try:
        return parse_time(value)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


def check_metadata(value: dict[str, Any]) -> dict[str, Any]:
    """``value``, or ``ValueError`` for what no memory's metadata can be."""
    if not value:
        return value
    check_value(value, METADATA_BYTES)
    if len(msgspec.json.encode(value)) > METADATA_BYTES:
        raise ValueError(f"is larger than {METADATA_BYTES} bytes")
    return value


def check_value(value: Any, most: int) -> None:
    """``ValueError`` for a JSON value that is too deep, or that a store or another language would change.

    Also for one that has more elements than ``most`` bytes hold, before these are looked through.
    """
    _check(value, 1, [most // 2])


def _check(value: Any, depth: int, room: list[int]) -> None:
    if isinstance(value, dict | list):
        if depth > METADATA_DEPTH:
            raise ValueError(f"is nested deeper than {METADATA_DEPTH}")
        room[0] -= len(value)
        if room[0] < 0:
            raise ValueError("has more elements than its bytes may be")
    if isinstance(value, str):
        _clean(value)
    elif isinstance(value, dict):
        for key, child in value.items():
            if not 1 <= len(key) <= 256:
                raise ValueError("has a key that is empty or longer than 256 characters")
            identifier(key)
            _check(child, depth + 1, room)
    elif isinstance(value, list):
        for child in value:
            _check(child, depth + 1, room)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("holds a number that is not finite")
    elif isinstance(value, int) and abs(value) > EXACT_INTEGER:
        raise ValueError("holds an integer beyond 2^53; send it as a string")


def _finite(values: list[float]) -> list[float]:
    if not all(math.isfinite(value) and abs(value) < 3.4e38 for value in values):
        raise ValueError("holds a number that is no finite float32")
    if not any(values):
        raise ValueError("is all zeros")
    return values


Identifier = Annotated[
    str, Field(min_length=1, max_length=ID_CHARACTERS), AfterValidator(identifier)
]
Tag = Annotated[str, Field(min_length=1, max_length=TAG_CHARACTERS), AfterValidator(identifier)]
Time = Annotated[
    int, BeforeValidator(_microseconds, json_schema_input_type=str), Field(strict=True)
]
Vector = Annotated[
    list[float], Field(min_length=1, max_length=MAX_DIMENSIONS), AfterValidator(_finite)
]
QueryText = Annotated[str, AfterValidator(_text)]
SourceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Mode = Literal["semantic", "keyword", "hybrid"]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class MemoryIn(Strict):
    """A memory as the caller gives it."""

    text: Annotated[str, AfterValidator(_text)]
    """What is remembered, at most 64 KiB."""
    id: Identifier | None = None
    """Unique in the source; a UUIDv7 if left out. An existing one is replaced whole."""
    user_id: Identifier | None = None
    session_id: Identifier | None = None
    tags: Annotated[list[Tag], Field(max_length=MAX_TAGS)] = []
    metadata: Annotated[dict[str, Any], AfterValidator(check_metadata)] = {}
    created_at: Time | None = None
    """RFC 3339; the time of acceptance if left out."""
    expires_at: Time | None = None
    vector: Vector | None = None
    """Only where the source's embedding is ``external``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "ana-seat", "text": "Ana prefers window seats.", "user_id": "ana"},
                {"text": "Ana is allergic to peanuts.", "user_id": "ana", "tags": ["health"]},
            ]
        }
    )


class PatchIn(Strict):
    """``PATCH /v1/memories/{id}``: what is given changes, the rest stays (RFC 7396).

    ``null`` takes a field away; ``metadata`` is merged field by field.
    """

    text: str | None = None
    """Cannot be taken away."""
    user_id: str | None = None
    session_id: str | None = None
    tags: list[str] | None = None
    """All of them: a list is replaced whole."""
    metadata: Annotated[dict[str, Any], AfterValidator(check_metadata)] | None = None
    created_at: str | None = None
    expires_at: str | None = None
    vector: list[float] | None = None
    """Only where the source's embedding is ``external``: with a new text, or alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "Ana prefers aisle seats."},
                {"tags": ["travel"], "metadata": {"seat": "aisle", "category": None}},
            ]
        }
    )

    @model_validator(mode="after")
    def _something(self) -> PatchIn:
        if not self.model_fields_set:
            raise InvalidInput("give what is to change", pointer="")
        return self


class MemoriesIn(Strict):
    """``POST /v1/memories``."""

    memories: Annotated[list[MemoryIn], Field(min_length=1, max_length=MAX_COUNT)]
    source: SourceName = "default"
    lane: Literal["interactive", "bulk"] = "interactive"

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "memories": [
                        {
                            "id": "ana-seat",
                            "text": "Ana prefers window seats.",
                            "user_id": "ana",
                            "tags": ["travel"],
                            "metadata": {"category": "preference"},
                        }
                    ]
                }
            ]
        }
    )


class DeleteIn(Strict):
    """``POST /v1/memories/delete``. Either ``ids``, or what all of the others that are given select."""

    ids: Annotated[list[Identifier], Field(min_length=1, max_length=MAX_COUNT)] | None = None
    user_id: Identifier | None = None
    session_id: Identifier | None = None
    filter: dict[str, Any] | None = None
    """As in a search; not empty, and at most 16 KiB."""
    source: SourceName = "default"

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"ids": ["ana-seat"]},
                {"user_id": "ana", "filter": {"tags": {"$contains": "travel"}}},
            ]
        }
    )

    @model_validator(mode="after")
    def _one_kind(self) -> DeleteIn:
        selects = (self.user_id, self.session_id, self.filter) != (None, None, None)
        if (self.ids is not None) == selects:
            raise InvalidInput(
                "give ids, or one or more of user_id, session_id and filter", pointer="/ids"
            )
        return self


class PurgeIn(Strict):
    """``POST /v1/memories/purge``."""

    confirm: str
    """The name of the namespace that is to be emptied."""
    source: SourceName | None = None
    """All sources if left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"confirm": "default"}]})


class DeadLettersIn(Strict):
    """Which dead letters: everything given must hold; ``all`` only where nothing else is given."""

    code: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(identifier)] | None = (
        None
    )
    """The cause, as in the list."""
    driver: SourceName | None = None
    source: SourceName | None = None
    ids: Annotated[list[Identifier], Field(min_length=1, max_length=MAX_COUNT)] | None = None
    """Of memories."""
    before: Time | None = None
    """Died before that, RFC 3339; ``after``: then or later."""
    after: Time | None = None
    all: bool = False

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"code": "too_long"}, {"driver": "weaviate"}, {"all": True}]
        }
    )

    @model_validator(mode="after")
    def _something(self) -> DeadLettersIn:
        given = (self.code, self.driver, self.source, self.ids, self.before, self.after)
        if self.all == any(value is not None for value in given):
            raise InvalidInput("say which, or all alone", pointer="/all")
        return self


class CancelIn(Strict):
    """``POST /v1/jobs/cancel``. Which jobs: everything given must hold; ``all`` only alone."""

    ids: Annotated[list[Identifier], Field(min_length=1, max_length=100)] | None = None
    status: Literal["accepted", "processing"] | None = None
    """Of ``processing`` what no worker has begun with."""
    source: SourceName | None = None
    before: Time | None = None
    """Accepted before that, RFC 3339; ``after``: then or later."""
    after: Time | None = None
    all: bool = False

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"status": "accepted", "source": "default"}, {"ids": ["job_1_1"]}]
        }
    )

    @model_validator(mode="after")
    def _something(self) -> CancelIn:
        given = (self.ids, self.status, self.source, self.before, self.after)
        if self.all == any(value is not None for value in given):
            raise InvalidInput("say which, or all alone", pointer="/all")
        return self


class ResumeIn(Strict):
    """``POST /v1/dead-letters/resume``."""

    stage: (
        Annotated[str, Field(min_length=1, max_length=256), AfterValidator(identifier)] | None
    ) = None
    """A driver, or ``embed:<source>``, as in the list of alarms; all of them if left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"stage": "embed:default"}]})


class SyncIn(Strict):
    """``POST /v1/drivers/{name}/sync``."""

    full: bool = False
    """Check every record, vectors too; else what the versions and digests show to differ."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"full": True}]})


class RetireIn(Strict):
    """``POST /v1/drivers/{name}/retire``."""

    source: SourceName = "default"
    """The source that it leaves."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "default"}]})


class JoinIn(Strict):
    """``POST /v1/drivers/{name}/join``."""

    source: SourceName = "default"
    """The source that it is to be filled from."""
    empty: bool = False
    """Remove what it has of the source first, wherever that came from."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "default"}]})


class KeyIn(Strict):
    """``POST /v1/keys``."""

    scopes: Annotated[list[KeyScope], Field(min_length=1, max_length=len(SCOPES))]
    """``admin`` includes the others; ``write`` does not include ``read``."""
    name: Annotated[str, Field(max_length=MAX_NAME), AfterValidator(identifier)] = ""
    """What it is for, so that people know it again."""
    expires_at: Time | None = None
    """From when on it is good no more; never if left out."""
    namespace: Namespace | None = None
    """The caller's own if left out. Others need an admin key of the installation's own namespace."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"scopes": ["admin"], "name": "operations"}]}
    )


class NothingIn(Strict):
    """A body without fields, or none at all."""


class SelectIn(Strict):
    """Which memories: everything given must hold."""

    user_id: Identifier | None = None
    user_ids: Annotated[list[Identifier], Field(min_length=1, max_length=100)] | None = None
    session_id: Identifier | None = None
    filter: dict[str, Any] | None = None
    """``{"metadata.score": {"$gte": 3}}``; see the guide on filters."""
    source: SourceName = "default"


class CountIn(SelectIn):
    """``POST /v1/memories/count``."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": "ana", "filter": {"tags": "travel"}}, {}]}
    )


class ListIn(SelectIn):
    """``POST /v1/memories/list``."""

    cursor: Annotated[str, Field(max_length=8 * ID_CHARACTERS)] | None = None
    """That of the page before, with the same selection."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": "ana", "limit": 20}, {"cursor": "YW5hLTE="}]}
    )


class RecencyIn(Strict):
    """Newer memories before older ones that are as relevant.

    A hit's score is then ``(1 - weight) * relevance + weight * 0.5 ^ (age / half_life)``. Relevance is the
    score of the mode; in ``keyword`` its share of the best one.
    """

    half_life: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Seconds from ``created_at`` after which a memory counts half as recent."""
    weight: Annotated[float, Field(ge=0, le=1)] = RECENCY_WEIGHT
    """What recency counts, relevance the rest. 0: as without."""


class SearchIn(SelectIn):
    """``POST /v1/search``. One of ``query`` and ``vector``; for ``hybrid`` also both.

    With both, vectors are compared with ``vector`` and keywords with ``query``: so a source whose
    callers bring vectors is searched by both too.
    """

    query: QueryText | None = None
    vector: Vector | None = None
    top_k: Annotated[int, Field(ge=1, le=MAX_TOP_K)] = 10
    offset: Annotated[int, Field(ge=0, lt=MAX_TOP_K)] = 0
    mode: Mode | None = None
    """``hybrid`` where a driver of the source can do keyword, else ``semantic``."""
    vector_weight: Annotated[float, Field(ge=0, le=1)] | None = None
    """What vectors count in ``hybrid``, keywords the rest; 0.3 if left out. Only with that mode given."""
    min_score: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Cosine; only with ``mode`` ``semantic``. With ``recency``: before that is weighed."""
    recency: RecencyIn | None = None
    """Weighs the 200 best of each driver that is asked; left out, age counts nothing."""
    include: list[Literal["text", "metadata", "vector"]] = ["text", "metadata"]
    drivers: Annotated[list[str], Field(min_length=1, max_length=16)] | None = None
    """Only these drivers of the source, in this order."""
    after_job: Identifier | None = None
    """Wait until that job is stored: read your writes."""
    timeout: Annotated[float, Field(gt=0, le=60)] | None = None
    """Seconds in all."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "Where does Ana like to sit?", "top_k": 3},
                {
                    "query": "Where does Ana like to sit?",
                    "recency": {"half_life": 604800, "weight": 0.3},
                },
            ]
        }
    )

    @model_validator(mode="after")
    def _consistent(self) -> SearchIn:
        both = self.query is not None and self.vector is not None
        if (both and self.mode != "hybrid") or (self.query is None and self.vector is None):
            raise InvalidInput("give one of query and vector", pointer="/query")
        if self.query is None and self.mode in ("keyword", "hybrid"):
            raise InvalidInput(f"{self.mode} needs a query", pointer="/mode")
        if self.vector_weight is not None and self.mode != "hybrid":
            raise InvalidInput('needs mode = "hybrid"', pointer="/vector_weight")
        if self.offset + self.top_k > MAX_TOP_K:
            raise InvalidInput(f"offset + top_k is more than {MAX_TOP_K}", pointer="/offset")
        if self.min_score is not None and self.mode != "semantic":
            raise InvalidInput('needs mode = "semantic"', pointer="/min_score")
        return self
