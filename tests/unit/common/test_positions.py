"""Whether all behind a position can still be given: the design's rule, letter by letter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.positions import Log, Position, parse_epochs

# Epoch 10 has seqs 1 to 4, epoch 20 has 5 to 8, epoch 30 has 9 to 12; the stream holds 3 to 12.
LOG = Log(epoch=30, tail=12, first=3, epochs=((10, 1), (20, 5), (30, 9)))


@pytest.mark.parametrize(
    ("epoch", "seq", "recovers"),
    [
        (30, 12, True),  # its tail
        (30, 13, False),  # above it
        (30, 9, True),
        (20, 8, True),  # the last of its epoch
        (20, 9, False),  # it saw a message that this epoch never had: lost
        (10, 4, True),
        (10, 5, False),
        (10, 2, True),  # the stream still holds 3
        (10, 1, False),  # 2 is trimmed away
        (10, 0, False),
        (0, 0, False),
        (0, 2, False),  # nobody has been at (0, 2)
        (15, 3, False),  # an epoch that never was
        (40, 12, False),  # one that is not yet
    ],
)
def test_the_rule(epoch: int, seq: int, recovers: bool) -> None:
    """The stream holds s + 1 or s is its tail, and s lies below the first seq of the epoch after E."""
    assert LOG.recovers(Position(epoch, seq)) is recovers


@pytest.mark.parametrize(
    ("log", "since", "recovers"),
    [
        (Log(), Position(0, 0), True),  # nothing was ever said
        (Log(), Position(5, 3), False),  # the room was forgotten since
        (Log(30, 12, 13, ((30, 1),)), Position(30, 12), True),  # all is trimmed away, and nothing was missed
        (Log(30, 12, 13, ((30, 1),)), Position(30, 11), False),
        (Log(30, 2, 1, ((30, 1),)), Position(0, 0), True),  # who came before the first message gets all
        (Log(30, 2, 1, ((30, 1),)), Position(30, 0), True),
    ],
)
def test_the_rule_at_its_edges(log: Log, since: Position, recovers: bool) -> None:
    """Empty logs, empty streams, and whoever joined before the first message."""
    assert log.recovers(since) is recovers


@given(data=st.data())
def test_the_rule_against_a_model(data: st.DataObject) -> None:
    """Who saw exactly a log's messages up to s, in whichever epoch, recovers if and only if all behind is still there.

    The model: a history in which Redis sometimes restarts and sometimes loses its tail first; a client saw a prefix of
    what was the log at some moment, and recovers if that prefix is one of the log's now, and nothing behind is trimmed.
    """
    log: list[tuple[int, int]] = []  # (epoch, a number that no other message has)
    epochs: list[tuple[int, int]] = []
    seen: set[tuple[tuple[int, int], ...]] = set()
    for step in range(data.draw(st.integers(1, 6))):
        lost = data.draw(st.integers(0, 2))
        log = log[: len(log) - lost]
        epochs = [*(pair for pair in epochs if pair[1] <= len(log)), (step + 1, len(log) + 1)]  # meta lost it too
        for number in range(data.draw(st.integers(1, 4))):
            log.append((step + 1, step * 10 + number))
            seen.add(tuple(log))
    first = data.draw(st.integers(1, len(log) + 1))
    told = Log(epochs[-1][0], len(log), first, tuple(epochs))
    for prefix in seen:
        is_prefix = tuple(log[: len(prefix)]) == prefix
        expected = is_prefix and len(prefix) >= first - 1
        assert told.recovers(Position(prefix[-1][0], len(prefix))) is expected


def test_epochs_are_read_as_meta_keeps_them() -> None:
    """Pairs joined by spaces, oldest first; none for a room without a log."""
    assert parse_epochs(b"10:1 20:5") == ((10, 1), (20, 5))
    assert parse_epochs(b"") == ()
