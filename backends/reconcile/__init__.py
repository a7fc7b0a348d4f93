"""Reconcile: all replicas of one scope are merged by highest version, both ways; absence never deletes.

It stands on ``scan``, ``records``, ``get`` and ``apply`` of the drivers; it knows neither Celery nor
the journal. ``verify`` is the read-only proof, with the account of a ledger.
"""

from __future__ import annotations

from backends.reconcile.divergence import Divergence, Drift, Kind, Progress
from backends.reconcile.peer import Peer, peer_of
from backends.reconcile.plan import Plan
from backends.reconcile.reconcile import reconcile

__all__ = ["Divergence", "Drift", "Kind", "Peer", "Plan", "Progress", "peer_of", "reconcile"]
