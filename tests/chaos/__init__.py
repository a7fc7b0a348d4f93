"""A seeded campaign of faults under load, and its judgement: ``python -m tests.chaos``."""
