"""Every operation of the HTTP surface is described with an example, and every example works as described."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest

from tests.docs.conftest import serving

LAST = (
    "detach",
    "sync",
    "retire",
    "join",
    "cancel",
    "revoke",
    "delete",
    "purge",
    "delete /v1/keys/",
)
"""What takes away what others read comes after them, in this order; the last word that fits counts."""
FIRST = ("POST /v1/memories", "POST /v1/memories/import", "PUT /v1/sources/{source}/keys/{key}")
DATES = jsonschema.FormatChecker([])
DATES.checks("date-time", raises=(ValueError, TypeError))(datetime.fromisoformat)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the document."""

    method: str
    path: str
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def rank(self) -> int:
        """When its examples are sent: what creates, what reads and changes, what takes away."""
        if self.name in FIRST:
            return FIRST.index(self.name) - len(FIRST)
        taking = [LAST.index(word) for word in LAST if word in self.name.lower()]
        return 1 + taking[-1] if taking else 0


@dataclass(slots=True)
class Session:
    """Sends examples in turn. What only the service can know is taken from its answers."""

    http: httpx.Client
    document: Mapping[str, Any]
    known: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    """By collection, the id of what was made in it."""
    key: str | None = None
    """The API key that was made, if one was."""

    def send(self, operation: Operation, media: str | None, body: Any) -> httpx.Response:
        """The example with ``body``; an id such as ``job_…`` is one that the service gave."""
        path = operation.path
        query: dict[str, Any] = {}
        headers = {"Content-Type": media} if media else {}
        headers |= {"Authorization": f"Bearer {self.key}"} if self.key else {}
        for parameter in operation.told.get("parameters", ()):
            name, value = parameter["name"], parameter.get("example")
            value = self.known.get(_kind(value), value)
            if name == "id":
                value = self.made.get(operation.path.rpartition("/")[0], value)
            if parameter["in"] == "path":
                assert value is not None, f"{operation.name}: {name} has no example"
                path = path.replace(f"{{{name}}}", quote(str(value)))
            elif value is not None:
                place = query if parameter["in"] == "query" else headers
                place[name] = value
        content = None if media is None else json.dumps(body).encode()
        answer = self.http.request(
            operation.method, path, params=query, headers=headers, content=content
        )
        self._remember(operation, answer)
        return answer

    def _remember(self, operation: Operation, answer: httpx.Response) -> None:
        if answer.headers.get("content-type") == "application/json" and answer.content:
            said = answer.json()
            if answer.status_code == 201:
                self.made[operation.path] = said["id"]
                self.key = said.get("key", self.key)
            for one in (said, said.get("job") or {}):
                if kind := _kind(one.get("id")):
                    self.known.setdefault(kind, one["id"])

    def check(self, operation: Operation, answer: httpx.Response) -> None:
        """The answer has a status, a media type and a content that the document says."""
        described = operation.told["responses"].get(str(answer.status_code))
        assert described is not None, f"{operation.name}: {answer.status_code} {answer.text}"
        content = described.get("content", {})
        if not content:
            assert answer.content == b"", f"{operation.name} answers what it does not describe"
            return
        media = answer.headers["content-type"].partition(";")[0]
        assert media in content, f"{operation.name} answers {media}"
        schema = content[media]["schema"]
        for value in _values(media, answer.text):
            whole = {**closed(schema), "components": closed(self.document["components"])}
            try:
                jsonschema.validate(value, whole, format_checker=DATES)
            except jsonschema.ValidationError as error:
                pytest.fail(f"{operation.name}: {error.message} at {error.json_path} of {value}")


def _kind(value: object) -> str:
    """What stands before the first ``_`` of an id that the service makes up."""
    kind, made, _ = value.partition("_") if isinstance(value, str) else ("", "", "")
    return kind if made else ""


def _values(media: str, text: str) -> Iterator[Any]:
    if media == "application/x-ndjson":
        yield from (json.loads(line) for line in text.splitlines())
    elif media == "text/event-stream":
        *events, end, _ = text.split("\n\n")
        assert "event: end" in end
        yield from (json.loads(event.removeprefix("data:")) for event in events if event != ":")
    elif media == "application/json":
        yield json.loads(text)


def closed(schema: Any) -> Any:
    """The schema with nothing more allowed than what it names: an answer has no undescribed field."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {name: closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        shut.setdefault("additionalProperties", False)
    return shut


def operations(document: Mapping[str, Any]) -> list[Operation]:
    found = [
        Operation(method.upper(), path, told)
        for path, by_method in document["paths"].items()
        for method, told in by_method.items()
    ]
    return sorted(found, key=lambda operation: (operation.rank, operation.name))


def bodies(operation: Operation) -> Iterator[tuple[str | None, Any]]:
    """Media type and value of each example of its body; one empty one if it has none."""
    content = operation.told.get("requestBody", {}).get("content", {})
    if not content:
        yield None, None
    for media, told in content.items():
        for example in told.get("examples", {}).values():
            yield media, example["value"]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a service of its own: the examples change drivers and delete everything."""
    with (
        serving(tmp_path_factory.mktemp("openapi") / "here") as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def document(http: httpx.Client) -> dict[str, Any]:
    document: dict[str, Any] = http.get("/openapi.json").json()
    return document


def test_every_operation_is_described(document: Mapping[str, Any]) -> None:
    for operation in operations(document):
        told = operation.told
        assert told["summary"] and told["description"], operation.name
        for parameter in told.get("parameters", ()):
            assert parameter.get("description"), f"{operation.name}: {parameter['name']}"
        good = [status for status in told["responses"] if status.startswith("2")]
        assert good and {"4XX", "5XX"} <= told["responses"].keys(), operation.name
        described = any(told["responses"][status].get("content") for status in good)
        empty = operation.method == "HEAD" or good == ["204"]
        assert described or empty, f"{operation.name}: what does it answer?"
        if "requestBody" in told:
            for media, content in told["requestBody"]["content"].items():
                assert content["examples"] and content["schema"], f"{operation.name}: {media}"


def test_every_example_is_what_its_schema_says(document: Mapping[str, Any]) -> None:
    for operation in operations(document):
        for media, value in bodies(operation):
            if media is not None:
                schema = operation.told["requestBody"]["content"][media]["schema"]
                whole = {**schema, "components": document["components"]}
                jsonschema.validate(value, whole, format_checker=DATES)


def test_every_example_works_as_described(http: httpx.Client, document: Mapping[str, Any]) -> None:
    session = Session(http, document)
    sent = 0
    for operation in operations(document):
        for media, value in bodies(operation):
            session.check(operation, session.send(operation, media, value))
            sent += 1
    assert sent >= len(operations(document))


def test_an_undescribed_field_of_an_answer_is_found(document: Mapping[str, Any]) -> None:
    schema = {**closed(document), "$ref": "#/components/schemas/Version"}
    jsonschema.validate({"id": "a", "version": 1}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"id": "a", "version": 1, "more": True}, schema)
