"""The reference of the HTTP API: Swagger UI, from our own assets, so that no other host is asked for it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.dashboard.page import HEADERS, HTML, fragment
from api.direct import Direct

router = APIRouter(route_class=Direct, include_in_schema=False)
PAGE = fragment("reference.html")


@router.get("/docs")
async def get_reference(_: Request) -> Response:
    """Open to all, as is what it describes."""
    return Response(PAGE, headers=HEADERS, media_type=HTML)
