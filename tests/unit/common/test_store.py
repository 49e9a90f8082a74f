"""What the store reads, without Redis: pages of history, and the newest messages that fit."""

from typing import Any, cast

import pytest
from redis.asyncio import Redis

from common.append_script import StoreLimits
from common.shards import Shards
from common.store import Entry, Store, newest

FOUND = [(1, 1), (2, 1), (3, 2), (4, 2), (5, 2)]  # seqs with their epochs


class FakePipeline:
    """Answers a page of a log that holds FOUND."""

    def __init__(self) -> None:
        self._end, self._count = "", 0

    def xrevrange(self, _stream: str, end: str, _begin: str, count: int) -> None:
        """As redis-py's."""
        self._end, self._count = end, count

    def hmget(self, *_names: str) -> None:
        """As redis-py's."""

    async def execute(self) -> list[Any]:
        """As redis-py's."""
        before = 6 if self._end == "+" else int(self._end.removeprefix("(").partition("-")[0])
        entries = [
            (b"%d-0" % seq, {b"seq": b"%d" % seq, b"epoch": b"%d" % epoch, b"body": b'"content":"x"}'})
            for seq, epoch in reversed(FOUND)
            if seq < before
        ]
        return [entries[: self._count], [b"5", b"2"]]


class FakeRedis:
    """Makes pipelines."""

    def register_script(self, _text: str) -> None:
        """As redis-py's."""

    def pipeline(self, **_how: object) -> FakePipeline:
        """As redis-py's."""
        return FakePipeline()


@pytest.mark.parametrize(
    ("before", "limit", "seqs", "epoch", "more"),
    [
        (None, 2, [4, 5], 2, True),
        (None, 3, [3, 4, 5], 2, True),
        (None, 9, [3, 4, 5], 2, True),
        ("4-0", 9, [3], 2, True),
        ("3-0", 9, [1, 2], 1, False),
        ("3-0", 1, [2], 1, True),
        ("1-0", 9, [], 2, False),
    ],
)
async def test_a_page_of_history_holds_one_epoch(
    before: str | None, limit: int, seqs: list[int], epoch: int, more: bool
) -> None:
    """Its own; what is of another is on the next page, and told as more."""
    store = Store(cast("Redis", FakeRedis()), Shards(4), StoreLimits())
    read, there_is_more = await store.history("r", before, limit)
    assert ([entry.seq for entry in read.entries], read.log.epoch, there_is_more) == (seqs, epoch, more)


@pytest.mark.parametrize(("most_bytes", "seqs"), [(100, [1, 2, 3]), (29, [2, 3]), (20, [2, 3]), (19, [3]), (1, [3])])
def test_the_newest_that_fit_are_at_least_one(most_bytes: int, seqs: list[int]) -> None:
    """A message larger than a page is a page."""
    entries = [Entry(seq, 1, b"1-0", b"x" * 10) for seq in (1, 2, 3)]
    assert [entry.seq for entry in newest(entries, most_bytes)] == seqs
