"""Real servers and services for tests, chaos runs and the bench, each in a process of its own on free ports."""
