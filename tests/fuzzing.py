"""How much is tried: a little and always the same in the suite; more, of other seeds, in a campaign.

``FUZZ=50 pytest --hypothesis-seed=7 tests/integration/test_filter_fuzz.py`` tries fifty times as much.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("FUZZ", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
"""Schemathesis's, which has a seed of its own."""


def tried(examples: int, **more: Any) -> settings:
    """``examples``, times ``FUZZ``."""
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
