"""The Redis 8 driver: vector sets, a partition for each user."""

from backends.redis.driver import create

__all__ = ["create"]
