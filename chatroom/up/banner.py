"""What `chatroom up` shows when all is ready: where everything is, what is embedded, how to stop. Pure text."""

from collections.abc import Sequence
from dataclasses import dataclass

from chatroom.up.plan import ServicePlan


@dataclass(frozen=True, slots=True)
class Backend:
    """A Redis, Kafka or Prometheus: how to show its address, and what to know about it."""

    address: str
    about: str


def banner(services: Sequence[ServicePlan], redis: Backend, kafka: Backend, prometheus: Backend | None = None) -> str:
    """Return the banner."""
    comets = [service for service in services if service.module == "comet"]
    (logic,) = [service for service in services if service.module == "logic"]
    rows = [
        *(("Chat", f"ws://{comet.shown('http_bind_port')}/", _named(comet, comets)) for comet in comets),
        ("Page", f"http://{comets[0].shown('http_bind_port')}/", "to chat by hand"),
        ("Logic", f"http://{logic.shown('http_bind_port')}", f"API: http://{logic.shown('http_bind_port')}/docs"),
        *(("gRPC", comet.shown("grpc_port"), _named(comet, comets)) for comet in comets),
        *(("Metrics", f"http://{service.shown(service.health_port)}/metrics", service.name) for service in services),
        ("Redis", redis.address, redis.about),
        ("Kafka", kafka.address, kafka.about),
        *([("Prometheus", prometheus.address, prometheus.about)] if prometheus else []),
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"  {what:<{widths[0]}}  {address:<{widths[1]}}  {about}".rstrip() for what, address, about in rows]
    return "\n".join(["", "ChatRoom is ready.", "", *lines, "", "Press Ctrl-C to stop.", ""])


def _named(comet: ServicePlan, comets: Sequence[ServicePlan]) -> str:
    return comet.name if len(comets) > 1 else ""
