"""Tests of parts together with real Redis, Kafka and processes."""
