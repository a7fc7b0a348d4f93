"""The conformance suite's rule: what a driver does not keep has a reason, and it shows when it is mended."""

from __future__ import annotations

import pytest

from memrelay.testing.conformance import DriverConformance

pytest_plugins = ["pytester"]

SUITE = """
import pytest
from memrelay.testing.conformance import DriverConformance
from memrelay.driver import Capabilities
from memrelay.errors import Unavailable


class Deaf:
    name = "deaf"
    capabilities = Capabilities()

    async def ping(self):
        {ping}

    async def close(self):
        pass


class TestDeaf(DriverConformance):
    gaps = {{"test_ping_returns": "it never answers"}}

    @pytest.fixture
    async def driver(self):
        return Deaf()
"""


@pytest.mark.parametrize(
    ("gaps", "message"),
    [
        ({"test_ping_return": "a slip of the pen"}, "no test of the suite"),
        ({"test_ping_returns": ""}, "no reason"),
        ({"test_ping_returns": "  "}, "no reason"),
    ],
)
def test_a_gap_needs_a_known_test_and_a_reason(gaps: dict[str, str], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        type("TestMine", (DriverConformance,), {"gaps": gaps})


def test_overriding_a_test_needs_a_reason() -> None:
    async def easier(self: object) -> None: ...

    with pytest.raises(TypeError, match="overrides test_ping_returns without a reason"):
        type("TestMine", (DriverConformance,), {"test_ping_returns": easier})
    type("TestMine", (DriverConformance,), {"test_of_my_own": easier})


def test_a_gap_fails_as_expected_until_it_is_mended(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    only = ("-k", "ping or closed_again", "-p", "no:cacheprovider")
    pytester.makepyfile(SUITE.format(ping="raise Unavailable('deaf')"))
    pytester.runpytest_subprocess(*only).assert_outcomes(xfailed=1, passed=1)
    pytester.makepyfile(SUITE.format(ping="return None"))
    mended = pytester.runpytest_subprocess(*only)
    mended.assert_outcomes(failed=1, passed=1)
    mended.stdout.fnmatch_lines(["*XPASS(strict)*it never answers*"])
