"""Whether a request that changes something comes from a page of ours."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request

from api.problems import Problem

SAFE = ("GET", "HEAD")


def check_same_origin(request: Request) -> None:
    """403 for a form or script of another site: by ``Sec-Fetch-Site``, else by ``Origin``.

    A browser always sends one of them with a POST; what sends neither carries no cookie by itself.
    """
    if request.method in SAFE:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        allowed = site in ("same-origin", "none")
    else:
        allowed = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not allowed:
        raise Problem(403, "cross_origin", "This form was sent from another site.")
