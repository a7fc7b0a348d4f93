"""The HTTP surface, out of its OpenAPI document: each operation with an example that a test sends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from api.app import described
from deploy.site.settings_page import code

Json = Mapping[str, Any]
HOST = "http://127.0.0.1:8700"
HEAD = """# HTTP

The running service has this as `/openapi.json` and, to try it out, as `/docs`. Bodies are strict JSON: an
unknown field is refused. An error is `application/problem+json` ([ProblemOut](#problemout)): 400 not JSON,
401 no good [API key](../guides/keys-and-namespaces.md), 403 one that may not do this, 404 no such object,
409 and 412 a condition does not hold, 413 too large, 415 another media type, 422 with a pointer to each field
that is wrong, 429 and 503 with `Retry-After`, 504 not in time. `/v1/limits` says how much a request may hold.

A test sends every example below to a running service and holds its answer against the shape that is named.
"""


def page() -> str:
    document = described().openapi()
    parts = [HEAD]
    tag = ""
    for path, by_method in sorted(document["paths"].items(), key=_place):
        for method, told in by_method.items():
            if told["tags"][0] != tag:
                tag = told["tags"][0]
                parts.append(f"## {tag}\n")
            parts += _operation(method.upper(), path, told)
    parts.append("## Shapes\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += [f"### {name}\n", code(schema.get("description", "")), "", *_fields(schema), ""]
    return "\n".join(parts)


def _place(item: tuple[str, Json]) -> tuple[str, str]:
    path, by_method = item
    return next(iter(by_method.values()))["tags"][0], path


def _operation(method: str, path: str, told: Json) -> Iterator[str]:
    yield f"### {method} {path}\n"
    yield code(told["description"]) + "\n"
    rows = [
        f"| `{p['name']}` | {p['in']} | {_type(p['schema'])} | {p['description']} |"
        for p in told.get("parameters", ())
    ]
    if rows:
        yield "\n".join(["| parameter | in | type | |", "|---|---|---|---|", *rows]) + "\n"
    yield _example(method, path, told) + "\n"
    for media, content in told.get("requestBody", {}).get("content", {}).items():
        yield f"Body, `{media}`: {_type(content['schema'])}\n"
    for status, response in told["responses"].items():
        for media, content in response.get("content", {}).items():
            if status.startswith("2"):
                yield f"{status}, `{media}`: {_type(content.get('schema', {}))}\n"


def _example(method: str, path: str, told: Json) -> str:
    """As curl; the first example of the body."""
    query: dict[str, Any] = {}
    words = ["curl -s"] + ([] if method in ("GET", "HEAD") else [f"-X {method}"])
    words += ["-I"] if method == "HEAD" else []
    for parameter in told.get("parameters", ()):
        value = parameter.get("example")
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(value))
        elif value is not None and parameter["in"] == "query":
            query[parameter["name"]] = value
        elif value is not None:
            words.append(f"-H '{parameter['name']}: {value}'")
    address = f"{HOST}{path}" + (f"?{urlencode(query)}" if query else "")
    words.append(f"'{address}'")
    for media, content in islice(told.get("requestBody", {}).get("content", {}).items(), 1):
        body = next(iter(content["examples"].values()))["value"]
        words += [f"-H 'Content-Type: {media}'", f"-d '{json.dumps(body)}'"]
    return "```sh\n" + " \\\n    ".join(words) + "\n```"


def _fields(schema: Json) -> Iterator[str]:
    rows = [
        f"| `{name}` | {_type(told)} | {'needed' if name in schema.get('required', ()) else ''} "
        f"| {' '.join(code(told.get('description', '')).split())} |"
        for name, told in schema.get("properties", {}).items()
    ]
    if rows:
        yield "\n".join(["| field | type | | |", "|---|---|---|---|", *rows])


def _type(schema: Json) -> str:
    """A schema in a few words, with links to shapes."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", "any JSON"))
    if kind == "array":
        return f"array of {_type(schema.get('items', {}))}"
    values = schema.get("additionalProperties")
    if kind == "object" and isinstance(values, dict) and values:
        return f"object of {_type(values)}"
    return "time" if schema.get("format") == "date-time" else kind
