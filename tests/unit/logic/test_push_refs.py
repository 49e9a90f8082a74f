"""The refs of pushes: one names one push, as long as Redis can tell."""

from typing import Any, cast

import pytest

from common import keys, redis_client
from common.errors import RefReused, Unavailable
from logic.push_refs import PushRefs
from logic.redis_watch import RedisWatch

WINDOW_S = 300


class FakePipeline:
    """The two commands of a claim."""

    def __init__(self, kept: dict[str, bytes]) -> None:
        self._kept = kept
        self._answers: list[bytes | bool | None] = []

    def set(self, key: str, value: str, *, ex: int, nx: bool = False) -> None:
        """As Redis does it."""
        assert ex == WINDOW_S
        written = not nx or key not in self._kept
        if written:
            self._kept[key] = value.encode()
        self._answers.append(written or None)

    def get(self, key: str) -> None:
        """As Redis does it."""
        self._answers.append(self._kept.get(key))

    async def execute(self) -> list[bytes | bool | None]:
        """Return the answers to both."""
        return self._answers


class FakeRedis:
    """Keeps digests by key."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def pipeline(self, *, transaction: bool) -> FakePipeline:
        """As Redis.pipeline."""
        assert not transaction
        return FakePipeline(self.kept)


class FakeWatch:
    """Says whether Redis is away."""

    away = False

    def check(self) -> None:
        """As RedisWatch.check."""
        if self.away:
            raise Unavailable("Redis is away")


class Rig:
    """The refs over a fake Redis."""

    def __init__(self) -> None:
        self.redis, self.watch = FakeRedis(), FakeWatch()
        redis: Any = self.redis
        self.refs = PushRefs(cast("redis_client.RedisClient", redis), cast("RedisWatch", self.watch), WINDOW_S)


async def test_a_ref_with_other_contents_is_refused_each_time() -> None:
    """The refused contents do not take the place of the first ones, and what is kept is short."""
    rig = Rig()
    await rig.refs.claim("p", b"one" * 1000)
    for _ in range(2):
        with pytest.raises(RefReused):
            await rig.refs.claim("p", b"two")
        await rig.refs.claim("p", b"one" * 1000)
    await rig.refs.claim("another", b"two")
    assert set(rig.redis.kept) == {keys.push("p"), keys.push("another")}
    assert len(rig.redis.kept[keys.push("p")]) == 16


async def test_refs_are_not_compared_while_redis_is_away() -> None:
    """A push needs only Kafka."""
    rig = Rig()
    await rig.refs.claim("p", b"one")
    rig.watch.away = True
    await rig.refs.claim("p", b"two")


async def test_a_digest_that_is_gone_already_refuses_nothing() -> None:
    """Redis may evict it between the two commands."""
    rig = Rig()
    rig.redis.kept = cast("dict[str, bytes]", Forgetful())
    await rig.refs.claim("p", b"one")


class Forgetful(dict[str, bytes]):
    """Keeps nothing."""

    def __setitem__(self, key: str, value: bytes) -> None:
        """Drop the value."""
