"""Which memories a request means: its user, session and filter as one AST."""

from __future__ import annotations

from collections.abc import Sequence

from api.models import SelectIn
from backends.sources import Source
from memrelay.filters import Compare, Filter, all_of, parse_filter


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
