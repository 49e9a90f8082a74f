"""Dead letters: written at least once, whatever Kafka says first."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from common.errors import ChatError, TooLarge, Unavailable
from common.health import Health
from job.dead_letter import CUT_BYTES, DeadLetters
from job.record import DEAD_LETTER, PendingRecord
from tests.support.eventually import eventually
from tests.unit.job.fakes import FakeRecord, Finished


class FakeKafka:
    """Takes dead letters, or not."""

    def __init__(self) -> None:
        self.letters: list[dict[str, Any]] = []
        self.faults: list[ChatError] = []  # raised by the next that is acknowledged, one each
        self.absent = 0  # so many times there is no connection
        self.created: list[str] = []
        self.most_bytes = 1 << 30
        self.acknowledges = True  # else what was sent waits in `unacknowledged`
        self.unacknowledged: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def writer(self, topic: str) -> AsyncIterator["FakeKafka"]:
        """Create the topic and connect."""
        if self.absent:
            self.absent -= 1
            raise Unavailable("nobody there")
        self.created.append(topic)
        yield self

    async def send(
        self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> asyncio.Future[None]:
        """Take one."""
        assert value is not None or key is not None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(value or b"") > self.most_bytes:
            future.set_exception(TooLarge("too large"))
        elif self.faults:
            future.set_exception(self.faults.pop(0))
            future.exception()  # as job/kafka_topics.py does: not each is awaited
        else:
            self.letters.append({"topic": self.created[-1], "value": value, "key": key, "headers": dict(headers)})
            if self.acknowledges:
                future.set_result(None)
            else:
                self.unacknowledged.append(future)
        return future


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    """Kafka as Job's adapter shows it; retries come at once."""
    kafka = FakeKafka()
    monkeypatch.setattr("common.backoff.random.uniform", lambda _low, _high: 0.01)
    return kafka


@pytest.fixture
def health() -> Health:
    """All is well."""
    return Health()


@pytest.fixture
async def dead_letters(kafka: FakeKafka, health: Health) -> AsyncIterator[DeadLetters]:
    """At work."""
    it = DeadLetters("my-topic", kafka.writer, health)
    task = asyncio.create_task(it.run())
    try:
        yield it
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _put(dead_letters: DeadLetters, finished: Finished, *sources: FakeRecord) -> None:
    for source in sources:
        dead_letters.put(PendingRecord(source.offset, 0, 0, finished), source, "because")


async def test_a_letter_keeps_all_and_says_where_it_comes_from(dead_letters: DeadLetters, kafka: FakeKafka) -> None:
    """Its record is finished as a dead letter."""
    finished = Finished()
    _put(dead_letters, finished, FakeRecord(b"v", 7, b"k", "t", 3, headers=(("trace", b"x"),)))
    await finished.until(1)
    assert finished.results == [DEAD_LETTER]
    assert kafka.created == ["my-topic.dlq"]
    headers = {"reason": b"because", "source-topic": b"t", "source-partition": b"3", "source-offset": b"7"}
    assert kafka.letters == [
        {"topic": "my-topic.dlq", "value": b"v", "key": b"k", "headers": {**headers, "trace": b"x"}}
    ]


async def test_nothing_is_finished_before_it_is_acknowledged(
    dead_letters: DeadLetters, kafka: FakeKafka, health: Health
) -> None:
    """Tried again over failures to connect and to write; meanwhile Job says that it is not well."""
    told: list[str] = []
    tell = health.bad

    def bad(name: str, reason: str) -> None:
        told.append(name)
        tell(name, reason)

    health.bad = bad  # type: ignore[method-assign]  # to see it before it is well again
    kafka.absent, kafka.faults = 2, [Unavailable("gone"), Unavailable("gone")]
    finished = Finished()
    _put(dead_letters, finished, *(FakeRecord(b"%d" % offset, offset) for offset in range(3)))
    await finished.until(3)
    assert finished.offsets == [0, 1, 2]
    assert {letter["value"] for letter in kafka.letters} == {b"0", b"1", b"2"}
    assert set(told) == {"dead_letters"}
    await asyncio.sleep(0)
    assert health.ready


async def test_while_kafka_is_silent_nothing_is_finished(dead_letters: DeadLetters, kafka: FakeKafka) -> None:
    """What Kafka acknowledged is finished, and nothing behind it."""
    kafka.acknowledges = False
    finished = Finished()
    _put(dead_letters, finished, FakeRecord(b"0", 0), FakeRecord(b"1", 1))
    await eventually(lambda: len(kafka.unacknowledged) == 2)
    await asyncio.sleep(0)
    assert finished.offsets == []
    kafka.unacknowledged[0].set_result(None)
    await finished.until(1)
    assert finished.offsets == [0]
    kafka.unacknowledged[1].set_result(None)
    await finished.until(2)


async def test_one_that_does_not_fit_is_cut_and_says_so(dead_letters: DeadLetters, kafka: FakeKafka) -> None:
    """The others are neither held up nor written twice."""
    kafka.most_bytes = CUT_BYTES
    finished = Finished()
    _put(
        dead_letters,
        finished,
        FakeRecord(b"a"),
        FakeRecord(b"x" * (CUT_BYTES + 5), 1, headers=(("h", b"y"),)),
        FakeRecord(b"c"),
    )
    await finished.until(3)
    cut = next(letter for letter in kafka.letters if len(letter["value"]) == CUT_BYTES)
    assert cut["headers"]["cut-from-bytes"] == b"%d" % (CUT_BYTES + 5)
    assert "h" not in cut["headers"]
    assert len(kafka.letters) == 3


async def test_one_without_key_and_value_is_written_too(dead_letters: DeadLetters, kafka: FakeKafka) -> None:
    """With an empty value, as Kafka's client refuses it otherwise."""
    finished = Finished()
    _put(dead_letters, finished, FakeRecord(None))
    await finished.until(1)
    assert kafka.letters[0]["value"] == b""


async def test_a_flood_is_written_in_parts(dead_letters: DeadLetters, kafka: FakeKafka) -> None:
    """In order."""
    finished = Finished()
    _put(dead_letters, finished, *(FakeRecord(b"%d" % offset, offset) for offset in range(250)))
    await finished.until(250)
    assert [int(letter["value"]) for letter in kafka.letters] == list(range(250))
