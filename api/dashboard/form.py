"""Reading what a form of ours was filled with."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fastapi import Request

from api.problems import Problem

FORM = "application/x-www-form-urlencoded"
LIMIT = 64 * 1024
MOST_FIELDS = 64


async def read_form(request: Request) -> dict[str, str]:
    """The fields by name, the last of a name; 413, 415 or 400 for what no form of ours sends."""
    return dict(await read_fields(request))


async def read_fields(request: Request) -> list[tuple[str, str]]:
    """As ``read_form``, with every field of a name, in the form's order."""
    if request.headers.get("content-type", FORM).partition(";")[0].strip().lower() != FORM:
        raise Problem(415, "unsupported_media_type", "Send the form as it is.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LIMIT:
            raise Problem(413, "too_large", f"The form is larger than {LIMIT} bytes.")
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise Problem(400, "not_a_form", "This is no form of ours.") from None
