"""What so many users would take, from what a message costs. Pure.

A message's CPU in a service is taken to be `fixed + serving * nodes that serve the room + member * its members`.
Three measurements settle the three constants; a fourth, of another shape, says how far the model is off.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

CHECK_SHARE: Final = 0.25  # a prediction that is off by more is wrong
MOST_ROUNDS: Final = 100


@dataclass(frozen=True, slots=True)
class Cost:
    """A message's CPU in one service, us."""

    fixed: float
    serving: float  # for each node that serves the room
    member: float  # for each member of the room

    def us(self, nodes: float, members: float) -> float:
        """Return what a message to a room of so many members on so many nodes costs."""
        return self.fixed + self.serving * nodes + self.member * members


def settle(few: tuple[int, float], many: tuple[int, float], on_two: float) -> Cost:
    """Return the constants from (members, us) of two rooms on one node, and the us of the larger one on two nodes.

    What would come out below zero is noise and counts as nothing.
    """
    member = max(0.0, (many[1] - few[1]) / (many[0] - few[0]))
    serving = max(0.0, on_two - many[1])
    return Cost(max(0.0, few[1] - serving - member * few[0]), serving, member)


@dataclass(frozen=True, slots=True)
class Demand:
    """Who shall be served, and how full a core, a node's memory and so on may be."""

    users: int
    room_members: int
    messages_per_s: float  # of all users together
    connection_kib: float
    core_share: float = 0.6  # of a core, which is what one process has at most
    node_connections: int = 50_000
    node_memory_gib: float = 4.0


@dataclass(frozen=True, slots=True)
class Needed:
    """How many processes of each kind."""

    comets: int
    bound: str  # what the number of nodes follows from: cpu, memory or connections
    serving: float  # nodes that serve a room on average
    logics: int
    jobs: int
    redis: int
    kafka_cores: int
    partitions: int


def needed(demand: Demand, costs: Mapping[str, Cost]) -> Needed:
    """Return what the demand takes: the least number of nodes that is enough for it, and what goes with that."""
    by_memory = ceil(demand.users * demand.connection_kib / (demand.node_memory_gib * 1024 * 1024))
    by_connections = ceil(demand.users / demand.node_connections)
    comets, bound = max((by_memory, "memory"), (by_connections, "connections"))
    for _ in range(MOST_ROUNDS):
        wanted = _processes(demand, costs["comet"], spread(comets, demand.room_members))
        if wanted <= comets:
            break
        comets, bound = wanted, "cpu"
    serving = spread(comets, demand.room_members)
    jobs = _processes(demand, costs["job"], serving)
    return Needed(
        comets,
        bound,
        serving,
        _processes(demand, costs["logic"], serving),
        jobs,
        _processes(demand, costs["redis"], serving),
        _processes(demand, costs["kafka"], serving),
        4 * ceil(max(jobs, 1)),
    )


def spread(nodes: int, members: int) -> float:
    """Return on how many of the nodes the members of a room are, where each is on any of them by chance."""
    return nodes * (1.0 - (1.0 - 1.0 / nodes) ** members)


def _processes(demand: Demand, cost: Cost, serving: float) -> int:
    return max(1, ceil(demand.messages_per_s * cost.us(serving, demand.room_members) / 1e6 / demand.core_share))


def off_by(predicted: float, measured: float) -> float:
    """Return by which share of the measured the prediction is off."""
    return abs(predicted - measured) / measured if measured else 0.0
