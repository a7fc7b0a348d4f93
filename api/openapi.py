"""OpenAPI for routes that read their bodies and write their answers themselves (which costs half of
what FastAPI's way does): what a route takes and answers, with an example, stands beside it.

A test sends every example to a running service and holds each answer against its schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.problems import MEDIA_TYPE, ProblemOut

JSON, NDJSON, TEXT = "application/json", "application/x-ndjson", "text/plain"
EVENTS, MERGE_PATCH = "text/event-stream", "application/merge-patch+json"
_TEMPLATE = "#/components/schemas/{model}"
_EXAMPLE = "x-example"
_KEY = {"key": {"type": "http", "scheme": "bearer", "description": "An API key, `mr_…`."}}
_REFUSED = (
    "The request is refused: as 401 for want of a good API key, as 403 if it may not do this."
)
_UNUSED = ("HTTPValidationError", "ValidationError")  # FastAPI's own, for answers that are not ours
_models: set[type[BaseModel]] = set()

PARAMETERS = {
    "after": "Accepted then or later, RFC 3339.",
    "before": "Accepted before that, RFC 3339.",
    "code": "Only dead letters with this cause.",
    "confirm": "Must be `true`.",
    "cursor": "The one that the page before gave.",
    "driver": "Only what this driver gave up.",
    "first_line": "The number of the first line that is sent, where a file is sent in parts.",
    "from_line": "Lines before it are skipped: an import that was broken off goes on there.",
    "id": "The id of a memory, of a job, or of an API key.",
    "key": "Any text without control characters; slashes are allowed.",
    "limit": "How many at most.",
    "name": "A driver, as under `drivers` in the settings.",
    "namespace": "A part of the source that has keys of its own.",
    "pattern": "A glob over the whole key, or a part of it.",
    "source": "A named source.",
    "status": "Only jobs with this status.",
    "wait": "Seconds to wait for the job's end.",
}
"""What a parameter of this name means, where it does not say so itself."""
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body give the same answer for 24 hours, and are written once.",
    "schema": {"type": "string", "maxLength": 256},
}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "Only if this is the `ETag` of what was accepted last; else 412.",
    "schema": {"type": "string"},
}
WAIT = {
    "name": "wait",
    "in": "query",
    "description": "`stored`: answer when the primary driver has an outcome for all of it.",
    "schema": {"enum": ["stored", "none"]},
}
TIMEOUT = {
    "name": "timeout",
    "in": "query",
    "description": "Seconds to wait at most, such as `5s`.",
    "schema": {"type": "string"},
}
WRITES = (IDEMPOTENCY_KEY, WAIT, TIMEOUT)
"""What every write takes."""


def operation(
    *answers: type[BaseModel],
    status: int | Sequence[int] = 200,
    body: type[BaseModel] | None = None,
    optional: bool = False,
    media: str = JSON,
    sent: Sequence[str] = (),
    takes: Sequence[Mapping[str, Any]] = (),
    example: Mapping[str, str | int] | None = None,
) -> dict[str, Any]:
    """``openapi_extra`` of a route: it answers one of ``answers`` under each ``status``.

    ``optional``: the body may be left out. ``media`` is of ``body`` and answers (of events: the schema
    is of their data), ``sent`` is what a body may be of instead. ``takes`` are parameters that the
    handler reads from the request;
    ``example`` has the path, query and headers of a request that works, the examples of ``body`` its bodies.
    """
    schema = _either([_reference(model) for model in answers])
    content = (
        {"content": {media: {"schema": schema}}} if schema or media not in (JSON, NDJSON) else {}
    )
    statuses = (status,) if isinstance(status, int) else status
    told: dict[str, Any] = {
        "responses": {str(code): {"description": "Done.", **content} for code in statuses},
        "parameters": [dict(parameter) for parameter in takes],
        _EXAMPLE: dict(example or {}),
    }
    if body is not None:
        examples = _examples(body)
        shown = {"schema": _reference(body), "examples": examples}
        told["requestBody"] = {
            "required": not optional,
            "content": dict.fromkeys(sent or (media,), shown),
        }
    return told


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    _models.add(model)
    return {"$ref": _TEMPLATE.format(model=model.__name__)}


def _either(schemas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"anyOf": list(schemas)} if len(schemas) > 1 else dict(*schemas)


def _examples(model: type[BaseModel]) -> dict[str, Any]:
    extra = model.model_config.get("json_schema_extra")
    given = extra.get("examples") if isinstance(extra, Mapping) else None
    values = given if isinstance(given, list) else [{}]
    return {str(number): {"value": value} for number, value in enumerate(values, start=1)}


def install(app: FastAPI) -> None:
    """``app.openapi`` with the schemas of what the routes read and write themselves."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    _reference(ProblemOut)
    ordered = sorted(_models, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation") for model in ordered], ref_template=_TEMPLATE
    )
    document.setdefault("components", {})["securitySchemes"] = _KEY
    document["security"] = [{}, {"key": []}]  # without one where none was ever made
    components = document["components"].setdefault("schemas", {})
    components.update(schemas.get("$defs", {}))
    for name in _UNUSED:
        components.pop(name, None)
    for path, told in _operations(document):
        _finish(path, told)
    return document


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, by_method in document["paths"].items():
        for told in by_method.values():
            yield path, told


def _finish(path: str, told: dict[str, Any]) -> None:
    """Examples and meanings to the parameters; the errors that every route may answer."""
    told["tags"] = [path.removeprefix("/v1/").strip("/").partition("/")[0]]
    values = told.pop(_EXAMPLE, {})
    for parameter in told.get("parameters", ()):
        name = parameter["name"]
        parameter.setdefault("description", PARAMETERS.get(name))
        if name in values:
            parameter["example"] = values[name]
    responses = told["responses"]
    responses.pop("422", None)
    for response in responses.values():
        if response.get("content", {}).get(JSON) == {"schema": {}}:
            del response["content"][JSON]  # what FastAPI takes for granted
    refused = {MEDIA_TYPE: {"schema": _reference(ProblemOut)}}
    responses["4XX"] = {"description": _REFUSED, "content": refused}
    responses["5XX"] = {"description": "Try again later.", "content": refused}
