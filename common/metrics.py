"""Metrics that several services count under one name."""

from prometheus_client import Counter, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a `_created` series beside every counter says nothing that Prometheus needs

GRPC_CALLS = Counter("grpc_calls", "Calls to the service behind, by outcome", ["service", "name", "status"])
