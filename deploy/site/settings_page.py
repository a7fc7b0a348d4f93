"""Every setting, out of the models that check them."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from backends.automem import settings as automem
from backends.embedding.remote import RemoteOptions
from backends.pgvector import settings as pgvector
from backends.redis import settings as redis
from backends.sqlite import Settings as SqliteSettings
from backends.weaviate import settings as weaviate
from memrelay.seeds import SEED_NAMES
from memrelay.settings import Settings, SourceSettings

HEAD = """# Settings

From `memrelay.toml` (or the file that `MEMRELAY_CONFIG` names), then from variables: `MEMRELAY_` and the
name in capitals, `__` between the parts, as in `MEMRELAY_DRIVERS__REDIS__URL`. Tables and lists may be
JSON. A wrong value stops the start with one line that names it; `memrelay doctor` checks all of them and
what they point at.

The driver `custom` has one setting, `factory`: see [Integrations](../integrations/index.md).
"""
TABLES: dict[str, tuple[str, type[BaseModel]]] = {
    "The installation": ("At the top of the file.", Settings),
    "A source": ("Under `[sources.<name>]`.", SourceSettings),
    "A remote embedding model": ('Under `[models."provider/model"]`.', RemoteOptions),
    "The Redis driver": ('Under `[drivers.<name>]`, `type = "redis"`.', redis.Settings),
    "The Weaviate driver": ('`type = "weaviate"`.', weaviate.Settings),
    "The PostgreSQL driver": ('`type = "pgvector"`.', pgvector.Settings),
    "The SQLite driver": ('`type = "sqlite"`.', SqliteSettings),
    "The AutoMem driver": ('`type = "automem"`.', automem.Settings),
}
SEEDS = """## Variables of other systems

Where no driver is configured, these name one:

| variable | is the setting |
|---|---|
"""


def page() -> str:
    parts = [HEAD]
    for title, (where, model) in TABLES.items():
        rows = "\n".join(_rows(model))
        parts.append(f"## {title}\n\n{where}\n\n{_said(model)}{rows}\n")
    seeds = "\n".join(f"| `{name}` | `drivers.{d}.{s}` |" for name, (d, s) in SEED_NAMES.items())
    return "\n".join([*parts, SEEDS + seeds + "\n"])


def _said(model: type[BaseModel]) -> str:
    doc = " ".join((model.__doc__ or "").split())
    return f"{code(doc)}\n\n" if doc else ""


def _rows(model: type[BaseModel]) -> Iterator[str]:
    yield "| setting | type | default | |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        default = "needed" if field.is_required() else f"`{_default(field)}`"
        cells = [f"`{field.alias or name}`", f"`{kind(field.annotation)}`", default, _told(field)]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    return "unset" if value is None else json.dumps(value)


def _told(field: FieldInfo) -> str:
    told = code(" ".join((field.description or "").split()))
    example = f"Such as `{field.examples[0]}`." if field.examples else ""
    return " ".join(part for part in (told, example) if part)


def kind(annotation: Any) -> str:
    """A type as people write it: ``text``, ``number``, ``a or b``."""
    names = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "anything"}
    if annotation in names:
        return names[annotation]
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return kind(parts[0])
    if origin is Literal:
        return " or ".join(str(part) for part in parts)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(kind(part) for part in parts if part is not type(None))
    if origin is list:
        return f"list of {kind(parts[0])}"
    if origin is dict:
        return f"table of {kind(parts[1])}"
    name = str(annotation.__name__)
    return {"SecretStr": "text", "Path": "path", "SourceSettings": "table"}.get(name, name)


def code(text: str) -> str:
    """Docstrings' double backticks as Markdown's single ones."""
    return re.sub(r"``([^`]+)``", r"`\1`", text)
