"""The directory: what it makes of what the registry says, and of its silence."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from common.health import Health
from common.registry import Node
from job.directory import Directory


class FakeRegistry:
    """Says who lives, or that Redis is away."""

    def __init__(self) -> None:
        self.living: dict[str, Node] = {}
        self.away = False
        self.asked = 0

    async def nodes(self) -> dict[str, Node]:
        """Return the living nodes."""
        self.asked += 1
        if self.away:
            raise RedisConnectionError("gone")
        return self.living


class FakeFleet:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.kept_missing: list[bool] = []

    def adopt(self, nodes: dict[str, Node], *, keep_missing: bool = False) -> None:
        """Take note."""
        self.kept_missing.append(keep_missing)
        self.names = self.names | nodes.keys() if keep_missing else set(nodes)

    def get(self, name: str) -> str | None:
        """Return the node if it lives."""
        return name if name in self.names else None


@pytest.fixture
def registry() -> FakeRegistry:
    """Nobody lives."""
    return FakeRegistry()


@pytest.fixture
def fleet() -> FakeFleet:
    """Nobody is known."""
    return FakeFleet()


@pytest.fixture
def health() -> Health:
    """All is well."""
    return Health()


@pytest.fixture
def directory(registry: FakeRegistry, fleet: FakeFleet, health: Health) -> Directory:
    """Over the fakes."""
    return Directory(registry, fleet, health)  # type: ignore[arg-type]  # the parts of them that it uses


async def test_a_name_that_nobody_knows_is_looked_for_once(directory: Directory, registry: FakeRegistry) -> None:
    """A dead node's entries stay in the registry for days: they must not cost a question each."""
    await directory.look_for({"dead"})
    await directory.look_for({"dead"})
    assert registry.asked == 1
    registry.living = {"new": Node("new", "x:1")}
    await directory.look_for({"dead", "new"})
    await directory.look_for({"dead", "new"})
    assert registry.asked == 2


async def test_many_who_ask_who_lives_ask_once(
    directory: Directory, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was heard a moment ago is still true; what was heard before that is not."""
    for _ in range(3):
        await directory.refresh_if_old()
    assert registry.asked == 1
    monkeypatch.setattr("job.directory.time.monotonic", lambda: float("inf"))
    await directory.refresh_if_old()
    assert registry.asked == 2


async def test_without_redis_it_is_blind_and_keeps_who_it_knew(
    directory: Directory, registry: FakeRegistry, fleet: FakeFleet, health: Health
) -> None:
    """/readyz says why; with Redis back it sees again."""
    registry.living = {"a": Node("a", "x:1")}
    await directory.refresh()
    registry.away = True
    await directory.refresh()
    assert directory.blind
    assert health.reasons == {"redis": "gone"}
    assert fleet.names == {"a"}
    registry.away = False
    await directory.refresh()
    assert not directory.blind
    assert health.ready


async def test_who_is_missing_right_after_redis_was_away_gets_time_to_renew(
    directory: Directory, registry: FakeRegistry, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its life may have run out only because Redis was not there."""
    registry.living = {"a": Node("a", "x:1")}
    await directory.refresh()
    registry.away = True
    await directory.refresh()
    registry.away, registry.living = False, {}
    await directory.refresh()
    assert fleet.names == {"a"}
    monkeypatch.setattr("job.directory.time.monotonic", lambda: float("inf"))
    await directory.refresh()
    assert fleet.names == set()
