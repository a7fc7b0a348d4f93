"""The dashboard: pages at ``/`` and ``/ui/…``, rendered here; live parts come again when they change.

A module for each page. They call the functions that the routes call, and go by the same namespace.
"""

from api.dashboard import (
    assets,
    dead_letters,
    drivers,
    events,
    jobs,
    keys,
    login,
    missing,
    overview,
    reference,
    search,
)

MODULES = (
    assets,
    login,
    overview,
    jobs,
    search,
    drivers,
    dead_letters,
    keys,
    events,
    reference,
    missing,
)
"""In the order in which their routes are tried; ``missing`` takes what is left."""
