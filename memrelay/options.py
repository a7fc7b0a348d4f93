"""Settings of one driver or model: a pydantic model, and a clear line for what is wrong in them.

Numbers may come as strings, since that is how environment variables bring them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from memrelay.errors import ConfigError


class Options(BaseModel):
    """Base of a driver's or model's settings; nothing unknown is let pass."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def parse_options[M: BaseModel](model: type[M], where: str, raw: Mapping[str, Any]) -> M:
    """The settings under ``where``, or ``ConfigError`` in one line that names the key and the mend."""
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        fields = model.model_fields.items()
        known = ", ".join(field.alias or name for name, field in fields)
        raise ConfigError(f"{where}.{key}: unknown setting; there are: {known}")
    if first["type"] == "missing":
        raise ConfigError(f"{where}.{key}: it is missing{_hint(model, key)}")
    message = str(first["msg"]).removeprefix("Value error, ")
    raise ConfigError(f"{where}.{key}: {message}")


def _hint(model: type[BaseModel], key: str) -> str:
    examples = model.model_fields[key].examples
    return f"; give for example {examples[0]}" if examples else ""


def checked_url(url: str, schemes: Collection[str], example: str) -> str:
    """``url`` if it has one of these schemes and no impossible port.

    The ``ValueError`` otherwise shows an example and not the URL, which may hold a password.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in schemes and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"give an address such as {example}")
    return url
