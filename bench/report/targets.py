"""The targets that the product must meet: what each is called and its bound. Results are held against them.

A part says what it measured by a target's key; whether that is enough is decided here, nowhere else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Target:
    """One bound: the figure may be `most` at the most, or must be `least` at the least."""

    key: str
    what: str
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def wanted(self) -> str:
        """The bound as people read it."""
        sign, bound = ("at most", self.most) if self.most is not None else ("at least", self.least)
        return f"{sign} {bound:,g} {self.unit}"

    def met_by(self, value: float) -> bool:
        """Whether a figure is within the bound."""
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a part found for a target: its key, the figure in the target's unit, and why it is missed if it is.

    `doubt` says why the figure may not be trusted: the run was disturbed, say.
    """

    key: str
    value: float
    why: str = ""
    doubt: str = ""


TARGETS: Final = (
    Target(
        "fanout_1", "fan-out, 1,000 clients, 1 message a flush: CPU per delivery", "x the bare joined write", most=1.3
    ),
    Target(
        "fanout_16",
        "fan-out, 1,000 clients, 16 messages a flush: CPU per delivery",
        "x the bare joined write",
        most=1.3,
    ),
    Target("idle_kib", "memory per idle connection", "KiB", most=10),
    Target("realtime_p50", "PubSub path at 1,000 msg/s, 10 rooms of 10, send to receive: p50", "ms", most=3),
    Target("realtime_p99", "the same: p99", "ms", most=10),
    Target("async_p50", "Kafka path at 1,000 msg/s, send to BroadcastRoom done: p50", "ms", most=15),
    Target("async_p99", "the same: p99", "ms", most=50),
    Target("ingest", "whole pipeline, both paths, 100 rooms of 10, one Comet, nothing lost", "msg/s", least=5000),
    Target("calls", "gRPC calls per message at that load", "", most=0.1),
)


def missed(measured: Iterable[Measured]) -> list[str]:
    """Return the keys of the targets that were missed."""
    bounds = {one.key: one for one in TARGETS}
    return [one.key for one in measured if not bounds[one.key].met_by(one.value)]
