"""The ledger: whatever is lost, doubled or out of order shows, and nothing else does."""

from collections.abc import Sequence

import pytest

from bench.load.ledger import AckedMessage, ReceivedMessage, RoomRecord, StoredMessage, audit

ACKED = [AckedMessage(number, seq, f"{seq}-0") for seq, number in enumerate((7, 8, 9), 1)]
RECEIVED = [ReceivedMessage(one.number, one.seq) for one in ACKED]
STORED = [StoredMessage(one.message_id, one.seq) for one in ACKED]


def faults(
    received: Sequence[ReceivedMessage] = RECEIVED,
    history: Sequence[StoredMessage] = STORED,
    produced: Sequence[StoredMessage] = STORED,
    different: Sequence[str] = (),
) -> Sequence[str]:
    """Audit one room."""
    return audit({"r": RoomRecord(ACKED, received, history, produced)}, different).faults


def test_everything_in_its_place_is_no_fault() -> None:
    """What was acked is counted, and nothing speaks against it."""
    books = audit({"r": RoomRecord(ACKED, RECEIVED, STORED, STORED), "s": RoomRecord([], [], [], [])}, [])
    assert (books.acked, books.repeats_in_kafka, books.faults) == (3, 0, [])


def test_repeats_in_kafka_are_allowed_and_counted() -> None:
    """At least once is what is promised; only first occurrences must be in order."""
    books = audit({"r": RoomRecord(ACKED, RECEIVED, STORED, [*STORED, STORED[0], STORED[1]])}, [])
    assert (books.repeats_in_kafka, books.faults) == (2, [])


@pytest.mark.parametrize(
    ("received", "said"),
    [
        (RECEIVED[:2], "not received"),
        ([*RECEIVED, RECEIVED[-1]], "repeats"),
        ([RECEIVED[1], RECEIVED[0], RECEIVED[2]], "order"),
        ([RECEIVED[0], RECEIVED[2]], "holes"),
        ([ReceivedMessage(8, 1), ReceivedMessage(7, 2), ReceivedMessage(9, 3)], "not received"),
    ],
)
def test_what_a_client_misses_or_gets_twice_shows(received: list[ReceivedMessage], said: str) -> None:
    """Lost, doubled, swapped, or another message at that seq than was acked."""
    assert any(said in fault for fault in faults(received=received))


def test_what_a_server_misses_shows() -> None:
    """An acked message that the history or Kafka lacks, or has at another seq, is named."""
    lacking, misplaced = [STORED[0], STORED[2]], [*STORED[:2], StoredMessage("3-0", 4)]
    assert faults(history=lacking) == [f"r: 1 messages acked and not in the history, such as [{STORED[1]}]"]
    assert faults(produced=lacking) == [f"r: 1 messages acked and not in Kafka, such as [{STORED[1]}]"]
    assert any("not in the history" in fault for fault in faults(history=misplaced))
    assert any("not in Kafka" in fault for fault in faults(produced=misplaced))


def test_first_occurrences_out_of_order_in_kafka_show() -> None:
    """A room's messages follow their seqs there."""
    assert faults(produced=[STORED[1], STORED[0], STORED[2]]) == ["r: the first occurrences in Kafka are out of order"]


def test_clients_who_got_something_else_than_the_witness_show() -> None:
    """One example is enough to look at."""
    assert faults(different=["client 3 got 2", "client 4 got 1"]) == [
        "2 clients got something else, such as: client 3 got 2"
    ]
