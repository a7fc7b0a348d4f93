"""Pages: templates rendered for people, under headers that let nothing else than our own assets run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from api.auth import grant_of
from api.dashboard.assets import asset_url
from api.dashboard.formats import FILTERS
from api.direct import Direct
from api.handlers import problem_of
from api.problems import TITLES, Problem
from api.state import state_of
from memrelay import __version__

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Entry:
    """A page in the navigation. ``name`` is what its template calls itself, and its icon."""

    name: str
    path: str
    label: str


ENTRIES = (
    Entry("overview", "/", "Overview"),
    Entry("jobs", "/ui/jobs", "Jobs"),
    Entry("search", "/ui/search", "Search"),
    Entry("drivers", "/ui/drivers", "Drivers"),
    Entry("dead-letters", "/ui/dead-letters", "Dead letters"),
    Entry("keys", "/ui/keys", "Keys & usage"),
)

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_templates.filters.update(FILTERS)
_templates.globals.update(asset_url=asset_url, entries=ENTRIES, release=__version__)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks, and what they may do."""

    namespace: str
    writes: bool
    admin: bool
    operator: bool
    """What concerns all namespaces too, such as drivers."""
    signed_in: bool


def viewer_of(request: Request) -> Viewer:
    grant = grant_of(request)
    return Viewer(
        grant.namespace,
        writes=grant.may("write"),
        admin=grant.may("admin"),
        operator=grant.may("admin") and grant.namespace == state_of(request).settings.namespace,
        signed_in=bool(grant.key_id),
    )


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A whole page. In the template ``viewer`` is who looks, and ``path`` where they are."""
    text = _templates.get_template(template).render(
        viewer=viewer_of(request), path=request.url.path, **values
    )
    return Response(text, status, headers=HEADERS, media_type=HTML)


def fragment(template: str, **values: Any) -> Markup:
    """A part of a page, as a page includes it and as it is sent again when it has changed."""
    text = _templates.get_template(template).render(**values)
    return Markup(text)  # nosec B704 # the template escapes what it is given


def see_other(path: str) -> Response:
    """Where to look at what a form has done."""
    return Response(status_code=303, headers={**HEADERS, "Location": path})


def error_page(request: Request, problem: Problem) -> Response:
    """A problem as people read it."""
    answer = page(
        request,
        "error.html",
        problem.status,
        title=TITLES.get(problem.status, "Error"),
        problem=problem,
        request_id=request.scope.get("request_id", ""),
    )
    if problem.retry_after is not None:
        answer.headers["Retry-After"] = str(max(1, round(problem.retry_after)))
    return answer


class Page(Direct):
    """A route for people: what it raises is shown as a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:  # the edge of a request: what is not ours is logged there
                return error_page(request, problem_of(error, request.scope))

        return handle
