"""Interfaces of others with memrelay behind them. Each needs what it plugs into, and httpx."""
