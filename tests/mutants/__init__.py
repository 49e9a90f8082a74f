"""Mutants: small faults put into the source one at a time, each of which a named test must notice. `make mutants`."""
