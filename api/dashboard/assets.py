"""Assets: stylesheet, scripts and icon, each under an address that changes with its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

from api.direct import Direct
from api.problems import not_found

PREFIX = "/ui/static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}
"""The policy is for a browser that shows an asset as a page of its own."""
router = APIRouter(route_class=Direct)


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    type: str
    digest: str


def _load(folder: Path) -> dict[str, Asset]:
    found = {}
    for path in sorted(folder.iterdir()):
        body = path.read_bytes()
        digest = hashlib.sha256(body).hexdigest()[:12]
        found[path.name] = Asset(body, TYPES[path.suffix], digest)
    return found


ASSETS = _load(Path(__file__).parent / "static")


def asset_url(name: str) -> str:
    """Where pages find the asset as it is in this release."""
    return f"{PREFIX}/{ASSETS[name].digest}/{name}"


@router.get(PREFIX + "/{digest}/{name}", include_in_schema=False)
async def get_asset(request: Request, digest: str, name: str) -> Response:
    """The asset; 404 for one of another release, which a cache must not keep under that address."""
    asset = ASSETS.get(name)
    if asset is None or asset.digest != digest:
        raise not_found()
    return Response(asset.body, headers=HEADERS, media_type=asset.type)
