"""Lag: what is shown of a partition, by whom, and when Kafka is taken for silent."""

import pytest
from prometheus_client import REGISTRY

from common.health import Health
from job.config import JobSettings
from job.lag import Lag
from job.partitions import Partitions
from job.record import PUSHED


class FakeMember:
    """A member of the group, as far as lag needs it."""

    def __init__(self, *partitions: int) -> None:
        self.has = set(partitions)
        self.end: int | None = 10
        self.answered_s = 0.0

    def assigned(self) -> set[int]:
        """Those given."""
        return self.has

    def end_of(self, _partition: int) -> int | None:
        """Where the partition ends."""
        return self.end

    def answered_at(self, _partition: int) -> float:
        """When Kafka answered last."""
        return self.answered_s


def _lag(member: FakeMember, partitions: Partitions, health: Health) -> Lag:
    return Lag(member, partitions, health, "consumer_0", JobSettings.load([], {}))


def _shown(partition: int) -> float | None:
    return REGISTRY.get_sample_value("job_kafka_lag", {"partition": str(partition)})


@pytest.fixture
def partitions() -> Partitions:
    """None yet."""
    return Partitions(lambda: None)


def test_it_is_the_end_less_what_is_finished(partitions: Partitions) -> None:
    """Nothing before the first answer; 0 where no record came; what is in flight counts."""
    member = FakeMember(31)
    lag = _lag(member, partitions, Health())
    member.end = None
    lag.observe()
    assert _shown(31) is None
    member.end = 10
    lag.observe()
    assert _shown(31) == 0
    first, _ = partitions[31].add(6, 0, 1), partitions[31].add(7, 0, 1)
    lag.observe()
    assert _shown(31) == 4
    first.settle(PUSHED)
    lag.observe()
    assert _shown(31) == 3


def test_a_partition_that_another_consumer_of_this_process_got_stays_shown(partitions: Partitions) -> None:
    """Only one that is nobody's here goes."""
    one, two = FakeMember(41), FakeMember()
    lags = [_lag(member, partitions, Health()) for member in (one, two)]
    lags[0].observe()
    one.has, two.has = two.has, one.has
    lags[1].observe()
    lags[0].observe()
    assert _shown(41) == 0
    two.has = set()
    lags[1].observe()
    assert _shown(41) is None


def test_a_kafka_that_does_not_answer_is_told(partitions: Partitions, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the longest that a fetch may take and 5 s; without partitions nobody asks."""
    now = [1000.0]
    monkeypatch.setattr("job.lag.time.time", lambda: now[0])
    member, health = FakeMember(51), Health()
    lag = _lag(member, partitions, health)
    now[0] += 5.4
    lag.observe()
    assert health.ready
    now[0] += 0.2
    lag.observe()
    assert health.reasons == {"consumer_0": "no answer from Kafka for 6 s"}
    member.answered_s = now[0]
    lag.observe()
    assert health.ready
    now[0] += 60
    member.has = set()
    lag.observe()
    assert health.ready


def test_a_consumer_that_is_no_member_any_more_shows_nothing(partitions: Partitions) -> None:
    """Another process may have its partitions by now; what another consumer here shows stays."""
    one, two = _lag(FakeMember(51, 52), partitions, Health()), _lag(FakeMember(52), partitions, Health())
    one.observe()
    two.observe()
    one.close()
    assert (_shown(51), _shown(52)) == (None, 0)
    two.close()
    assert _shown(52) is None
