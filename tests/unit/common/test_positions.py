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
        (15, 4, True),  # an epoch that was lost with all that was sent in it, as nobody can tell otherwise
        (15, 5, False),  # it saw one of those messages
        (5, 2, False),  # an epoch older than all that are kept: what followed it is not known
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
    """Who was at a position recovers if and only if all that he saw is still so, and all behind it still there.

    The model: Redis sometimes restarts, sometimes loses its tail first (with what meta said of it), and whoever looks
    next, reader or writer, opens an epoch. A position stands for the log as it was then, message by message; it is
    good as long as that is what the log begins with now, and nothing behind it is trimmed.
    """
    log: list[tuple[int, int]] = []  # (epoch, seq): no two messages of a run share one
    epochs: list[tuple[int, int]] = []
    seen: dict[Position, tuple[tuple[int, int], ...]] = {}
    for epoch in range(1, data.draw(st.integers(2, 12))):
        lost = data.draw(st.integers(0, 3)) if epoch > 1 else 0
        log = log[: max(1, len(log) - lost)]
        if lost:
            epochs = [pair for pair in epochs if pair[1] <= len(log)]
        epochs.append((epoch, len(log) + 1))
        seen[Position(epoch, len(log))] = tuple(log)
        for _ in range(data.draw(st.integers(epoch == 1, 4))):
            log.append((epoch, len(log) + 1))
            seen[Position(epoch, len(log))] = tuple(log)
    first = data.draw(st.integers(1, len(log) + 1))
    told = Log(epochs[-1][0], len(log), first, tuple(epochs))
    for at, prefix in seen.items():
        expected = tuple(log[: len(prefix)]) == prefix and len(prefix) >= first - 1
        assert told.recovers(at) is expected, (at, told)


@given(epochs=st.integers(17, 40), seq=st.integers(0, 60), epoch=st.integers(0, 40), sent=st.lists(st.integers(0, 3)))
def test_of_many_epochs_the_oldest_are_forgotten_and_nobody_is_told_wrong(
    epochs: int, seq: int, epoch: int, sent: list[int]
) -> None:
    """Meta keeps sixteen: who stands in an older one starts anew, though nothing of his may be lost."""
    tail, pairs = 0, []
    for number in range(1, epochs + 1):
        pairs.append((number, tail + 1))
        tail += sent[number % len(sent)] if sent else 1
    whole, kept = Log(epochs, tail, 1, tuple(pairs)), Log(epochs, tail, 1, tuple(pairs[-16:]))
    at = Position(epoch, seq)
    assert kept.recovers(at) is (whole.recovers(at) and (epoch >= kept.epochs[0][0] or seq == 0))


def test_epochs_are_read_as_meta_keeps_them() -> None:
    """Pairs joined by spaces, oldest first; none for a room without a log."""
    assert parse_epochs(b"10:1 20:5") == ((10, 1), (20, 5))
    assert parse_epochs(b"") == ()
