"""A page as people see it: at a desk and on a phone, and kept as an image where asked for."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.async_api import Page

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
DESK = (1280, 800)
PHONE = (360, 740)
LARGEST = 150_000
"""Bytes of an image that is kept in the repository."""
_WIDER = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.body.querySelectorAll("*")]
    .filter((element) => element.getBoundingClientRect().right > width + 1)
    .map((element) => `${element.tagName}.${element.className}`).slice(0, 8)
    .concat("the page scrolls sideways");
}"""


async def look(page: Page, name: str, *, dark: bool = False) -> None:
    """Assert that the page, as it is, fits both widths; ``SCREENSHOTS=1`` keeps it as ``<name>-<width>.png``.

    ``dark``: once more in dark colours. The page is at desk width and in light colours afterwards.
    """
    for width, height in (PHONE, DESK):
        await page.set_viewport_size({"width": width, "height": height})
        assert await page.evaluate(_WIDER) == [], f"{name} at {width}"
        await _keep(page, f"{name}-{width}")
    if dark:
        await page.emulate_media(color_scheme="dark")
        await _keep(page, f"{name}-dark")
        await page.emulate_media(color_scheme="light")


async def _keep(page: Page, name: str) -> None:
    if not os.environ.get("SCREENSHOTS"):
        return
    IMAGES.mkdir(parents=True, exist_ok=True)
    image = await page.screenshot(animations="disabled", caret="hide")
    assert len(image) <= LARGEST, f"{name}: {len(image)} bytes"
    (IMAGES / f"{name}.png").write_bytes(image)
