"""Cleanup: one living node cleans up after each dead one, in steps, and goes on after a fault."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from comet import cleanup
from comet.cleanup import Cleanup, cleaner_of
from comet.membership import Membership
from common.registry import Registry
from tests.support.eventually import eventually


class FakeRegistry:
    """A registry that may be away; a dead node left so many steps' work."""

    def __init__(self, living: set[str], left: dict[str, int]) -> None:
        self.living = living
        self.left = left
        self.faults = 0
        self.looks = 0
        self.looks_at_end = 0  # when nothing was left
        self.steps: list[str] = []

    async def dead(self) -> list[str]:
        """Those that left anything."""
        self.looks += 1
        if self.faults:
            self.faults -= 1
            raise ConnectionError("Redis is away")
        return list(self.left)

    async def nodes(self) -> set[str]:
        """Those that live."""
        return self.living

    async def forget(self, incarnation: str, count: int) -> bool:
        """One step."""
        assert count == cleanup.STEP
        self.steps.append(incarnation)
        self.left[incarnation] -= 1
        if self.left[incarnation]:
            return True
        del self.left[incarnation]
        self.looks_at_end = self.looks
        return False


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits long."""
    monkeypatch.setattr(cleanup, "LOOK_S", 0.001)
    monkeypatch.setattr(cleanup, "PAUSE_S", 0.001)


async def run(registry: FakeRegistry, incarnation: str, until: object) -> None:
    """Run a node's cleanup until it is true."""
    membership = cast("Membership", SimpleNamespace(incarnation=incarnation))
    running = asyncio.create_task(Cleanup(cast("Registry", registry), membership).run())
    try:
        await eventually(until)  # type: ignore[arg-type]
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_dead_node_is_forgotten_step_by_step_also_after_an_outage() -> None:
    """Until nothing is left."""
    registry = FakeRegistry({"a"}, {"dead": 5})
    registry.faults = 3
    await run(registry, "a", lambda: not registry.left)
    assert (registry.steps, registry.looks_at_end) == (["dead"] * 5, 4)  # one look after three in vain does all steps


async def test_each_dead_node_has_one_cleaner_and_all_have_their_share() -> None:
    """All living nodes agree without asking each other, and one that died hands its share to the others."""
    living = {"a", "b", "c"}
    registry = FakeRegistry(living, {f"dead-{i}": 1 for i in range(90)})
    chosen = {dead: cleaner_of(dead, living) for dead in registry.left}
    mine = {dead for dead, cleaner in chosen.items() if cleaner == "a"}
    assert 15 < len(mine) < 45
    await run(registry, "a", lambda: not mine & registry.left.keys())
    assert set(registry.steps) == mine
    assert {dead: cleaner_of(dead, living - {"c"}) for dead, cleaner in chosen.items() if cleaner != "c"} == {
        dead: cleaner for dead, cleaner in chosen.items() if cleaner != "c"
    }


async def test_a_node_that_is_not_listed_itself_cleans_nothing() -> None:
    """It may be presumed dead, so that another has its share."""
    registry = FakeRegistry(set(), {"dead": 1})
    looks = 0

    async def looked() -> bool:
        nonlocal looks
        looks += 1
        return looks > 20

    await run(registry, "a", looked)
    assert registry.steps == []
