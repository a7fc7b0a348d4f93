"""A double of the AutoMem service: its HTTP API as far as memrelay and its neighbours use it, rule by rule.

AutoMem is on no package registry, so CI cannot have it. The double follows its source (8ff266e) and is held
to it by tests/integration/test_automem_contract.py, which runs against both where MEMRELAY_TEST_AUTOMEM_URL
(and _TOKEN) name a real one. It does what surprises: folds tags, takes prefixes by default, deletes by any
tag, names memories itself, answers as Werkzeug does (a connection for each request), and enriches.

What is simpler: enrichment has been done when the next request comes, entities are the long words, recall
ranks by words alone, and nothing is consolidated. Faults are for tests: ``refuse``, ``lose`` (done, but the
answer is lost), ``freeze``.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

CONTENT_LIMIT = 2000
BATCH_LIMIT = 500
PAGE_LIMIT = 200
DIMENSIONS = 384
EXCLUDED_TYPES = ("MetaPattern",)
QUEUE_SECONDS = 0.5
"""How long a vector of POST /memory is on its way; 2 s at AutoMem's."""

NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")
"""In JSON."""

Json = Any


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.code, self.message, self.headers = code, message, headers


@dataclass
class Node:
    """A memory in the graph; ``metadata`` is JSON there, whatever its size."""

    id: str
    content: str
    tags: list[str]
    importance: float
    timestamp: str
    type: str
    confidence: float
    metadata: str
    vector_at: float
    """When its vector is there, as of ``time.monotonic``."""
    updated_at: str = ""
    last_accessed: str = ""
    summary: str | None = None
    processed: bool = False

    def __post_init__(self) -> None:
        self.tag(self.tags)

    def tag(self, tags: list[str]) -> None:
        """Replace the tags, and what is looked for instead of them."""
        self.tags, self.folded = tags, {tag.lower() for tag in tags}
        self.tag_prefixes = sorted({level for tag in self.folded for level in _levels(tag)})

    def properties(self) -> dict[str, Json]:
        hidden = ("vector_at", "folded") if self.summary else ("vector_at", "folded", "summary")
        shown = {key: value for key, value in vars(self).items() if key not in hidden}
        return {**shown, "metadata": json.loads(self.metadata)}


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    query: list[tuple[str, str]] = field(default_factory=list)
    body: Json = None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.query if key == name]

    def one(self, name: str, default: str = "") -> str:
        return next(iter(self.all(name)), default)

    def number(self, name: str, default: int) -> int:
        try:
            return int(self.one(name, str(default)))
        except ValueError:
            return default


@dataclass
class _Fault:
    matches: Callable[[Request], bool]
    times: int
    refusal: RefusedError | None = None


class AutomemServer:
    """The double on a loopback port of its own choice. Use it as a context manager."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        self.nodes: dict[str, Node] = {}
        self._raw: list[Node] = []
        self.edges: list[tuple[str, str, str, float]] = []
        self.requests: list[Request] = []
        self._faults: list[_Fault] = []
        self._lock = threading.RLock()
        self._running = threading.Event()
        self._running.set()
        server = self

        class Handler(_Handler):
            automem = server

        self._http = _Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.thaw()
        self._http.shutdown()
        self._http.server_close()

    def refuse(
        self, code: int, method: str = "", path: str = "", times: int = 1, **headers: str
    ) -> None:
        """Answer the next matching requests with an error, before anything is done."""
        refusal = RefusedError(code, "as the test wants it", **headers)
        self._faults.append(_Fault(_matching(method, path), times, refusal))

    def lose(self, method: str = "", path: str = "", times: int = 1) -> None:
        """Do what the next matching requests ask for, and end their connections without an answer."""
        self._faults.append(_Fault(_matching(method, path), times))

    def freeze(self) -> None:
        """Accept connections and say nothing."""
        self._running.clear()

    def thaw(self) -> None:
        self._running.set()

    def answered(self, request: Request, headers: dict[str, str]) -> tuple[int, Json] | None:
        """Status and body; None if the answer is lost."""
        self._running.wait()
        with self._lock:
            self.requests.append(request)
            fault = self._fault(request)
            if fault is not None and fault.refusal is not None:
                raise fault.refusal
            self._check_token(request, headers)
            self._enrich()
            answer = self._route(request)
            return None if fault is not None else answer

    def _fault(self, request: Request) -> _Fault | None:
        for fault in self._faults:
            if fault.times > 0 and fault.matches(request):
                fault.times -= 1
                return fault
        return None

    def _check_token(self, request: Request, headers: dict[str, str]) -> None:
        if self.token is None or request.path == "/health":
            return
        given = headers.get("authorization", "")
        if given.lower().startswith("bearer "):
            token = given[7:].strip()
        else:
            token = headers.get("x-api-key", "") or request.one("api_key")
        if token != self.token:
            raise RefusedError(401, "Unauthorized")

    def _route(self, request: Request) -> tuple[int, Json]:
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["health"]:
                return 200, {"status": "healthy", "memory_count": len(self.nodes)}
            case "POST", ["memory"]:
                return self._store(request)
            case "POST", ["memory", "batch"]:
                return self._store_batch(request)
            case "GET", ["memory", "by-tag"]:
                return self._list(request)
            case "DELETE", ["memory", "by-tag"]:
                return self._delete_by_tag(request)
            case "GET", ["memory", id]:
                return 200, {"status": "success", "memory": self._node(id).properties()}
            case "PATCH", ["memory", id]:
                return self._update(self._node(id), request)
            case "DELETE", ["memory", id]:
                self._forget(self._node(id))
                return 200, {"status": "success", "memory_id": id}
            case "GET", ["recall"]:
                return self._recall(request)
            case "POST", ["associate"]:
                return self._associate(request)
        raise RefusedError(404, "The requested URL was not found on the server.")

    def _store(self, request: Request) -> tuple[int, Json]:
        """The vector is queued, unless it is given."""
        given = request.body
        if not isinstance(given, dict):
            raise RefusedError(400, "JSON body is required")
        if not (given.get("content") or "").strip():
            raise RefusedError(400, "'content' is required")
        embedding = given.get("embedding")
        if embedding is not None and len(embedding) != DIMENSIONS:
            raise RefusedError(400, f"Embedding must contain exactly {DIMENSIONS} values")
        node = _node(given, "")
        node.vector_at += 0 if embedding is not None else QUEUE_SECONDS
        self._take([node])
        return 201, {
            "status": "success",
            "memory_id": node.id,
            "stored_at": node.timestamp,
            "type": node.type,
            "confidence": node.confidence,
            "qdrant": "queued" if embedding is None else "stored",
            "embedding_status": "queued" if embedding is None else "provided",
            "enrichment": "queued",
            "metadata": given.get("metadata") or {},
        }

    def _store_batch(self, request: Request) -> tuple[int, Json]:
        """All or none; the vectors are there at once."""
        given = request.body.get("memories") if isinstance(request.body, dict) else None
        if not isinstance(given, list) or not given:
            raise RefusedError(400, "'memories' must be a non-empty array")
        if len(given) > BATCH_LIMIT:
            raise RefusedError(400, f"Batch size limit is {BATCH_LIMIT} memories per request")
        nodes = [_node(one, f" at index {index}") for index, one in enumerate(given)]
        self._take(nodes)
        return 201, {
            "status": "success",
            "stored": len(nodes),
            "memory_ids": [node.id for node in nodes],
            "qdrant": f"stored ({len(nodes)})",
            "enrichment": "queued",
        }

    def _take(self, nodes: list[Node]) -> None:
        """The graph takes no NUL, and says so as of any trouble of its own."""
        if any("\0" in text for node in nodes for text in (node.content, *node.tags)) or any(
            NUL.search(node.metadata) for node in nodes
        ):
            raise RefusedError(500, "Failed to store memories in FalkorDB")
        self.nodes |= {node.id: node for node in nodes}
        self._raw += nodes

    def _list(self, request: Request) -> tuple[int, Json]:
        limit = max(1, min(request.number("limit", 20), PAGE_LIMIT))
        offset = max(0, request.number("offset", 0))
        found = self._tagged(request)
        page = found[offset : offset + limit]
        answer = {
            "status": "success",
            "tags": request.all("tags"),
            "count": len(page),
            "limit": limit,
            "offset": offset,
            "has_more": len(found) > offset + limit,
            "memories": [node.properties() for node in page],
        }
        for node in page:
            node.last_accessed = _utc_now()
        return 200, answer

    def _delete_by_tag(self, request: Request) -> tuple[int, Json]:
        found = self._tagged(request)
        for node in found:
            self._forget(node)
        return 200, {"status": "success", "deleted_count": len(found)}

    def _tagged(self, request: Request) -> list[Node]:
        """What has any of the tags, in the order of every listing."""
        tags = {tag.strip().lower() for tag in request.all("tags") if tag.strip()}
        if not tags:
            raise RefusedError(400, "'tags' query parameter is required")
        found = [node for node in self.nodes.values() if not tags.isdisjoint(node.folded)]
        found.sort(key=lambda node: node.id)
        found.sort(key=lambda node: (node.importance, node.timestamp), reverse=True)
        return found

    def _node(self, id: str) -> Node:
        try:
            uuid.UUID(id)
        except ValueError:
            raise RefusedError(400, "memory_id must be a valid UUID") from None
        if id not in self.nodes:
            raise RefusedError(404, "Memory not found")
        return self.nodes[id]

    def _update(self, node: Node, request: Request) -> tuple[int, Json]:
        """Metadata is replaced; the summary of the old content stays."""
        for key in ("content", "importance", "type", "timestamp"):
            setattr(node, key, request.body.get(key, getattr(node, key)))
        node.tag(request.body.get("tags", node.tags))
        if "metadata" in request.body:
            node.metadata = json.dumps(request.body["metadata"] or {})
        return 200, {"status": "success", "memory_id": node.id}

    def _forget(self, node: Node) -> None:
        del self.nodes[node.id]
        self.edges = [edge for edge in self.edges if node.id not in edge[:2]]

    def _associate(self, request: Request) -> tuple[int, Json]:
        one, two = (self._node(request.body.get(f"memory{n}_id", "")) for n in (1, 2))
        kind, strength = request.body.get("type", "RELATES_TO"), request.body.get("strength", 0.5)
        self.edges.append((one.id, two.id, kind, strength))
        return 201, {"status": "success", "relation_type": kind, "strength": strength}

    def _recall(self, request: Request) -> tuple[int, Json]:
        """Hits of vectors lack ``memory.id``; relations know no owner."""
        words = set(re.findall(r"\w{3,}", request.one("query").lower()))
        results = []
        for node in sorted(self.nodes.values(), key=lambda n: (-n.importance, n.id)):
            if node.type in EXCLUDED_TYPES or not _selected(node, request):
                continue
            by_vector = bool(words) and node.vector_at <= time.monotonic()
            if words and not by_vector and not any(word in node.content.lower() for word in words):
                continue
            memory = node.properties()
            if by_vector:
                del memory["id"]
            results.append(
                {
                    "id": node.id,
                    "score": node.importance,
                    "match_type": "vector" if by_vector else "keyword" if words else "trending",
                    "source": "qdrant" if by_vector else "graph",
                    "memory": memory,
                    "relations": self._relations(node),
                }
            )
        limit = max(1, min(request.number("limit", 5), 100))
        return 200, {"status": "success", "results": results[:limit], "count": len(results[:limit])}

    def _relations(self, node: Node) -> list[Json]:
        found = []
        for one, two, kind, strength in self.edges:
            if one == node.id:
                other = self.nodes[two]
                summary = {"id": two, "tags": other.tags[:5]}
                summary["summary" if other.summary else "content"] = other.summary or other.content
                found.append({"type": kind, "strength": strength, "memory": summary})
        return found

    def _enrich(self) -> None:
        """What AutoMem's worker does to a memory some time after it was stored."""
        raw, self._raw = self._raw, []
        for node in raw:
            words = sorted(set(re.findall(r"[a-z]{6,}", node.content.lower())))[:5]
            metadata = json.loads(node.metadata)
            metadata.setdefault("entities", {})["concepts"] = words
            metadata["enrichment"] = {"last_run": _utc_now(), "semantic_neighbors": []}
            node.metadata = json.dumps(metadata)
            node.tag([*node.tags, *(f"entity:concepts:{word}" for word in words)])
            node.summary = re.split(r"(?<=[.!?])\s+", node.content)[0][:240]
            node.processed = True


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """Of connections that come at once; what finds no place comes again a second later."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    automem: AutomemServer

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        request = Request(self.command, parts.path, parse_qsl(parts.query), _parsed(raw))
        headers = {key.lower(): value for key, value in self.headers.items()}
        extra: dict[str, str] = {}
        try:
            answer = self.automem.answered(request, headers)
        except RefusedError as error:
            extra = {key.replace("_", "-"): value for key, value in error.headers.items()}
            answer = error.code, {"status": "error", "code": error.code, "message": error.message}
        self.close_connection = True
        if answer is not None:
            self._send(*answer, extra)

    do_GET = do_POST = do_PATCH = do_DELETE = _handle

    def _send(self, status: int, body: Json, extra: dict[str, str]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(encoded)

    def handle(self) -> None:
        """A client that went away is no error of ours."""
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


def _matching(method: str, path: str) -> Callable[[Request], bool]:
    return lambda request: request.method.startswith(method) and request.path.startswith(path)


def _parsed(raw: bytes) -> Json:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return None


def _node(given: Json, where: str) -> Node:
    """A memory as it is asked for, under an id of ours: a given ``id`` is not looked at."""
    content = (given.get("content") or "").strip() if isinstance(given, dict) else ""
    if not content:
        raise RefusedError(400, f"Memory{where} missing 'content'")
    if len(content) > CONTENT_LIMIT:
        raise RefusedError(
            400, f"Memory{where} exceeds content limit ({len(content)}/{CONTENT_LIMIT})"
        )
    tags = given.get("tags") or []
    tags = [tags] if isinstance(tags, str) else tags
    if not all(isinstance(tag, str) for tag in tags):
        raise RefusedError(400, "'tags' must be a list of strings or a single string")
    metadata = given.get("metadata")
    stored_at = _timestamp(given.get("timestamp"))
    return Node(
        id=str(uuid.uuid4()),
        content=content,
        tags=tags,
        importance=float(given.get("importance", 0.5)),
        timestamp=stored_at,
        type=given.get("type") or "Context",
        confidence=0.9 if given.get("type") else 0.6,
        metadata=json.dumps(metadata if isinstance(metadata, dict) else {}),
        vector_at=time.monotonic(),
        updated_at=stored_at,
        last_accessed=stored_at,
    )


def _selected(node: Node, request: Request) -> bool:
    """A prefix of a tag is enough, and one tag of several, unless the request says otherwise."""
    held = (
        node.folded if request.one("tag_match") == "exact" else node.folded.union(node.tag_prefixes)
    )
    excluded = [tag.strip().lower() for tag in request.all("exclude_tags")]
    if any(tag.startswith(no) for tag in node.folded for no in excluded):
        return False
    wanted = [tag.strip().lower() for tag in request.all("tags")]
    if not wanted:
        return True
    return (all if request.one("tag_mode") == "all" else any)(tag in held for tag in wanted)


def _levels(tag: str) -> list[str]:
    """``a:b:c`` and all in front of a ``:`` or ``/`` of it."""
    parts = [part for part in re.split("[:/]", tag) if part]
    return [":".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _timestamp(given: object) -> str:
    """Now, if it is not a time."""
    try:
        moment = datetime.fromisoformat(str(given))
    except ValueError:
        return _utc_now()
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def _utc_now() -> str:
    return datetime.now(UTC).isoformat()
