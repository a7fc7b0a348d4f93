"""The driver conformance suite: what ``memrelay/driver.py`` promises, tested on a real store.

A driver's tests are one class (pytest-asyncio in ``asyncio_mode = "auto"``)::

    from memrelay.testing.conformance import DriverConformance

    class TestMyDriver(DriverConformance):
        gaps = {"test_name": "why the driver cannot do it"}

        @pytest.fixture
        async def driver(self) -> AsyncIterator[Driver]:
            driver = create("mine", {"url": "…"})
            await driver.open()
            yield driver
            await driver.close()

Each test writes to a namespace of its own and purges it, so a shared server will do. What the driver
does not declare in ``capabilities`` must raise ``Unsupported``. A test named in ``gaps`` is
``xfail(strict=True)``: it fails as soon as it passes. Overriding a test without a gap is an error.
"""

from __future__ import annotations

import pytest

_THEMES = (
    "apply",
    "collect",
    "expiry",
    "filters",
    "find",
    "harness",
    "isolation",
    "keyword",
    "reads",
    "records",
    "roundtrip",
    "scan",
    "search",
    "versions",
)
pytest.register_assert_rewrite(*(f"{__name__}.{theme}" for theme in _THEMES))

from memrelay.testing.conformance.suite import DriverConformance  # noqa: E402

__all__ = ["DriverConformance"]
