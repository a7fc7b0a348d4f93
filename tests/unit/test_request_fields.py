"""No request names an address that the service would fetch: where it connects to is in its settings alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from api.app import described

ADDRESS = re.compile(
    r"url|uri|href|link|host|endpoint|webhook|callback|proxy|path|base$", re.IGNORECASE
)


def _fields(node: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of every schema, by its place."""
    if isinstance(node, dict):
        for name, child in node.get("properties", {}).items():
            yield f"{where}/{name}", child
        for name, child in node.items():
            yield from _fields(child, f"{where}/{name}")
    elif isinstance(node, list):
        for child in node:
            yield from _fields(child, where)


def _sent() -> list[tuple[str, dict[str, Any]]]:
    """What callers send: fields of bodies, and parameters."""
    document = described().openapi()
    schemas = document["components"]["schemas"]
    found: list[tuple[str, dict[str, Any]]] = []
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            body = str(told.get("requestBody", ""))
            for name in re.findall(r"schemas/(\w+)", body):
                found += _fields(schemas[name], name)
            for parameter in told.get("parameters", ()):
                found.append((f"{method} {path} {parameter['name']}", parameter["schema"]))
    return found


def test_no_field_is_an_address() -> None:
    sent = _sent()
    assert len(sent) > 50
    assert [where for where, _ in sent if ADDRESS.search(where.rpartition("/")[2])] == []
    assert [where for where, schema in sent if schema.get("format", "").startswith("uri")] == []
