"""Faults under load, and a ledger that says what became of every message: `make chaos`."""
