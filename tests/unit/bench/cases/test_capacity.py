"""The capacity model: it gives back the constants that it was made from, and its numbers add up."""

import pytest

from bench.cases.capacity import CapacityDemand, Cost, needed, off_by, settle, spread


def test_constants_are_recovered_from_the_three_measurements() -> None:
    """What a message costs by the model leads back to the model."""
    true = Cost(80.0, 30.0, 2.0)
    found = settle((2, true.us(1, 2)), (50, true.us(1, 50)), true.us(2, 50))
    assert found == Cost(pytest.approx(80.0), pytest.approx(30.0), pytest.approx(2.0))  # type: ignore[arg-type]


def test_noise_never_makes_a_constant_negative() -> None:
    """A larger room that came out cheaper counts as no dearer."""
    assert settle((2, 100.0), (50, 90.0), 80.0) == Cost(100.0, 0.0, 0.0)


def test_nodes_suffice_for_the_cpu_and_no_more_than_that_are_taken() -> None:
    """What each node then has to do fits into its share of a core."""
    costs = {name: Cost(100.0, 20.0, 3.0) for name in ("comet", "logic", "job", "redis", "kafka")}
    demand = CapacityDemand(1_000_000, 100, 30_000.0, 10.0)
    need = needed(demand, costs)
    cores = demand.messages_per_s * costs["comet"].us(need.serving, 100) / 1e6
    assert need.bound == "cpu"
    assert cores <= need.comets * demand.core_share
    assert need.partitions == 4 * need.jobs


def test_memory_or_connections_bound_where_little_is_said() -> None:
    """Silent users cost memory and sockets, not CPU."""
    costs = {name: Cost(1.0, 1.0, 1.0) for name in ("comet", "logic", "job", "redis", "kafka")}
    assert needed(CapacityDemand(1_000_000, 10, 1.0, 10.0), costs).bound == "connections"
    assert needed(CapacityDemand(1_000_000, 10, 1.0, 10.0), costs).comets == 20
    assert needed(CapacityDemand(1_000_000, 10, 1.0, 1000.0), costs).bound == "memory"


@pytest.mark.parametrize(("nodes", "members", "serving"), [(1, 5, 1.0), (10, 1, 1.0), (2, 2, 1.5), (3, 1000, 3.0)])
def test_members_are_spread_by_chance(nodes: int, members: int, serving: float) -> None:
    """One member is on one node, very many are on all."""
    assert spread(nodes, members) == pytest.approx(serving)


def test_off_by_is_a_share_of_what_was_measured() -> None:
    """Both ways."""
    assert off_by(75, 100) == pytest.approx(0.25)
    assert off_by(125, 100) == pytest.approx(0.25)
