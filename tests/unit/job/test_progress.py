"""The offset that may be committed never lies behind a record that is not finished."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job import progress as module
from job.progress import Progress
from job.record import PUSHED


def _ignore() -> None:
    """Nobody waits."""


def test_nothing_may_be_committed_before_the_first_record_finished() -> None:
    """The position is where the partition was when it became ours."""
    progress = Progress(_ignore)
    progress.add(40, 0, 1)
    progress.add(41, 0, 1).settle(PUSHED)
    assert progress.advance() == 40
    assert progress.committed == 40


def test_offsets_may_have_gaps() -> None:
    """As in a compacted topic."""
    progress = Progress(_ignore)
    for record in [progress.add(3, 0, 1), progress.add(9, 0, 1)]:
        record.settle(PUSHED)
    assert progress.advance() == 10
    assert progress.unfinished == 0


@given(st.permutations(range(12)))
def test_in_whatever_order_records_finish_the_position_is_the_first_unfinished(order: list[int]) -> None:
    """Also when a record is added only after others finished."""
    progress = Progress(_ignore)
    records = [progress.add(offset, 0, 1) for offset in range(12)]
    done: set[int] = set()
    for offset in order:
        records[offset].settle(PUSHED)
        done.add(offset)
        assert progress.advance() == min(set(range(13)) - done)
    assert progress.unfinished == 0


def test_it_is_full_by_number_from_the_first_unfinished_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished ones behind it count: they are what a commit would have to skip."""
    monkeypatch.setattr(module, "MAX_RECORDS", 3)
    progress = Progress(_ignore)
    first, second, _ = (progress.add(offset, 0, 1) for offset in range(3))
    assert progress.full
    second.settle(PUSHED)
    assert progress.full
    first.settle(PUSHED)
    assert not progress.full


def test_it_is_full_by_bytes_of_what_is_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished records have let go of their message."""
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    progress = Progress(_ignore)
    progress.add(0, 0, 40)
    second = progress.add(1, 0, 60)
    assert progress.full
    second.settle(PUSHED)
    assert not progress.full
    assert second.proto is None


def test_a_log_that_begins_anew_is_followed() -> None:
    """A broker that lost its log gives smaller offsets; what was in flight before finishes without effect on them."""
    progress = Progress(_ignore)
    before = progress.add(40, 0, 1)
    first, second = progress.add(0, 0, 1), progress.add(1, 0, 1)
    before.settle(PUSHED)
    assert progress.advance() == 0
    second.settle(PUSHED)
    first.settle(PUSHED)
    assert progress.advance() == 2
    assert progress.unfinished == 0
