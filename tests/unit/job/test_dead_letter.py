"""Dead letters: written at least once, whatever Kafka says first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError

from common.health import Health
from job.config import JobSettings
from job.dead_letter import CUT_BYTES, DeadLetters
from job.record import DEAD_LETTER, PendingRecord
from tests.unit.job.fakes import Finished, KafkaRecord


class FakeKafka:
    """Takes dead letters, or not."""

    def __init__(self) -> None:
        self.letters: list[dict[str, Any]] = []
        self.faults: list[KafkaError] = []  # raised by the next that is acknowledged, one each
        self.absent = 0  # so many times there is no connection
        self.created: list[str] = []
        self.most_bytes = 1 << 30

    async def create_if_missing(self, _settings: JobSettings, topic: str) -> None:
        """Create the topic."""
        if self.absent:
            self.absent -= 1
            raise KafkaConnectionError("nobody there")
        self.created.append(topic)

    @asynccontextmanager
    async def writer(self, _settings: JobSettings) -> AsyncIterator[Any]:
        """Connect."""
        yield self.send

    async def send(
        self, topic: str, value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]]
    ) -> asyncio.Future[None]:
        """Take one."""
        assert value is not None or key is not None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(value or b"") > self.most_bytes:
            future.set_exception(MessageSizeTooLargeError("too large"))
        elif self.faults:
            future.set_exception(self.faults.pop(0))
        else:
            self.letters.append({"topic": topic, "value": value, "key": key, "headers": dict(headers)})
            future.set_result(None)
        return future


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    """Kafka as Job's adapter shows it; retries come at once."""
    kafka = FakeKafka()
    monkeypatch.setattr("job.dead_letter.kafka.create_if_missing", kafka.create_if_missing)
    monkeypatch.setattr("common.backoff.random.uniform", lambda _low, _high: 0.01)
    return kafka


@pytest.fixture
def health() -> Health:
    """All is well."""
    return Health()


@pytest.fixture
async def dead_letters(kafka: FakeKafka, health: Health) -> AsyncIterator[DeadLetters]:
    """At work."""
    it = DeadLetters(JobSettings.load([], {}), health, kafka.writer)
    task = asyncio.create_task(it.run())
    yield it
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _put(dead_letters: DeadLetters, finished: Finished, *sources: KafkaRecord) -> None:
    for source in sources:
        dead_letters.put(PendingRecord(source.offset, 0, 0, finished), source, "because")


async def test_a_letter_keeps_all_and_says_where_it_comes_from(dead_letters: DeadLetters, kafka: FakeKafka) -> None:
    """Its record is finished as a dead letter."""
    finished = Finished()
    _put(dead_letters, finished, KafkaRecord(b"v", 7, b"k", "t", 3, headers=(("trace", b"x"),)))
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
    kafka.absent, kafka.faults = 2, [KafkaConnectionError("gone"), KafkaConnectionError("gone")]
    finished = Finished()
    _put(dead_letters, finished, *(KafkaRecord(b"%d" % offset, offset) for offset in range(3)))
    await finished.until(3)
    assert finished.offsets == [0, 1, 2]
    assert {letter["value"] for letter in kafka.letters} == {b"0", b"1", b"2"}
    assert set(told) == {"dead_letters"}
    await asyncio.sleep(0)
    assert health.ready


async def test_one_that_does_not_fit_is_cut_and_says_so(dead_letters: DeadLetters, kafka: FakeKafka) -> None:
    """The others are neither held up nor written twice."""
    kafka.most_bytes = CUT_BYTES
    finished = Finished()
    _put(
        dead_letters,
        finished,
        KafkaRecord(b"a"),
        KafkaRecord(b"x" * (CUT_BYTES + 5), 1, headers=(("h", b"y"),)),
        KafkaRecord(b"c"),
    )
    await finished.until(3)
    cut = next(letter for letter in kafka.letters if len(letter["value"]) == CUT_BYTES)
    assert cut["headers"]["cut-from-bytes"] == b"%d" % (CUT_BYTES + 5)
    assert "h" not in cut["headers"]
    assert len(kafka.letters) == 3


async def test_one_without_key_and_value_is_written_too(dead_letters: DeadLetters, kafka: FakeKafka) -> None:
    """With an empty value, as Kafka's client refuses it otherwise."""
    finished = Finished()
    _put(dead_letters, finished, KafkaRecord(None))
    await finished.until(1)
    assert kafka.letters[0]["value"] == b""


async def test_a_flood_is_written_in_parts(dead_letters: DeadLetters, kafka: FakeKafka) -> None:
    """In order."""
    finished = Finished()
    _put(dead_letters, finished, *(KafkaRecord(b"%d" % offset, offset) for offset in range(250)))
    await finished.until(250)
    assert [int(letter["value"]) for letter in kafka.letters] == list(range(250))
