"""How much is tried: a little and always the same in the suite; more, of other seeds, in a campaign.

``FUZZ=50 FUZZ_SEED=7 pytest tests/integration/test_http_schema.py`` tries fifty times as much.
"""

from __future__ import annotations

import os
import random

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("FUZZ", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))


def tried(examples: int, *, steps: int | None = None) -> settings:
    """``examples``, times ``FUZZ``; of a state machine each of ``steps``."""
    campaign = TIMES > 1
    if campaign:
        random.seed(SEED)
    more = {} if steps is None else {"stateful_step_count": steps}
    return settings(
        max_examples=examples * TIMES,
        derandomize=not campaign,
        database=None,
        deadline=None,
        print_blob=campaign,
        suppress_health_check=list(HealthCheck),
        **more,
    )
