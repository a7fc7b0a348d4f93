"""What is none of the dashboard's pages: a page that says so."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.dashboard.page import Page
from api.problems import not_found

router = APIRouter(route_class=Page, include_in_schema=False)


@router.api_route("/ui/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def get_missing(request: Request, path: str) -> Response:
    raise not_found()
