"""Which memories a request means: its user, session and filter as one AST."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from api.models import Identifier, SelectIn
from api.problems import Problem, from_validation
from backends.sources import Source
from memrelay.filters import Compare, Filter, all_of, parse_filter

identifier: TypeAdapter[str] = TypeAdapter(Identifier)


def path_id(request: Request, id: str, pointer: str = "/id") -> str:
    """The id at the end of the path if a memory can have it; 400, or 422 for ``pointer``, otherwise."""
    try:
        path = unquote_to_bytes(request.scope["raw_path"]).decode()
    except UnicodeDecodeError:
        raise Problem(400, "not_utf8", "The path is not UTF-8.") from None
    try:
        # Routes match with a regular expression, whose $ lets a last line break fall under the table.
        return identifier.validate_python(id if path.endswith(id) else f"{id}\n")
    except ValidationError as error:
        raise from_validation(error, pointer) from None


def selection(body: SelectIn, source: Source) -> Filter | None:
    """Everything that the request asks for, ANDed; ``InvalidInput`` names what is wrong."""
    parts: list[Filter | None] = []
    users: Sequence[str] = body.user_ids or ([body.user_id] if body.user_id else [])
    if body.user_id and body.user_ids:
        parts.append(Compare("user_id", "$eq", body.user_id))
    if users:
        parts.append(Compare("user_id", "$in", tuple(users)))
    if body.session_id:
        parts.append(Compare("session_id", "$eq", body.session_id))
    if body.filter is not None:
        parts.append(parse_filter(body.filter, source.settings.filterable))
    return all_of(parts)
