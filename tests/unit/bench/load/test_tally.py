"""What the generator notes of frames: ages, an example of a flush, refusals, and receipts for the ledger."""

from bench.load import wire
from bench.load.tally import Receipts, Tally, quantiles_ms, seen


def messages(*numbers: int, at_ns: int = 100) -> bytes:
    """Return a frame of messages, their seqs counting from 1 with their numbers."""
    text = b",".join(
        b'{"seq":%d,"content":"%b%019d%012d.."}' % (number + 1, wire.MARK, at_ns, number) for number in numbers
    )
    return wire.frame(b'{"type":"serverMessages","payload":{"roomId":"r_0","messages":[%b]}}' % text)


def ack(number: int, room: str) -> bytes:
    """Return an ack of a message."""
    text = b'{"type":"ack","payload":{"ref":"%012d","roomId":"%b","messages":[{"id":"%d-0","seq":%d}]}}'
    return wire.frame(text % (number, room.encode(), number, number + 1))


def test_each_message_is_timed_from_the_moment_on() -> None:
    """A message that was sent before is not."""
    tally = Tally(measure_from_ns=100)
    tally.time(messages(1, 2), 2, now_ns=130)
    tally.time(messages(3, at_ns=99), 1, now_ns=131)
    assert list(tally.ages_ns) == [30, 30]


def test_a_burst_is_timed_once_and_kept_as_the_flush() -> None:
    """Its messages have all the same age; a frame of fewer messages is no example."""
    tally = Tally(burst=2)
    tally.time(messages(1), 1, now_ns=101)
    tally.time(messages(2, 3), 2, now_ns=107)
    tally.time(messages(4, 5), 2, now_ns=108)
    assert (list(tally.ages_ns), tally.flush) == ([1, 7, 8], messages(2, 3))


def test_refusals_are_counted_by_their_code() -> None:
    """An error without a code is counted as well."""
    tally = Tally()
    for text in (b'{"type":"error","payload":{"code":"overloaded"}}', b'{"type":"error"}'):
        tally.refuse(text)
    assert tally.refused == {"overloaded": 1, "?": 1}


def test_seen_has_acks_and_receipts_by_room_and_names_clients_that_differ() -> None:
    """The first client of each room is its witness."""
    receipts = [Receipts(witness=k < 2) for k in range(4)]
    for one, frame in zip(receipts, (messages(7), messages(8), messages(7), messages(9)), strict=True):
        one.take(frame, 1)
    found = seen(["r_0", "r_1"], receipts, [ack(7, "r_0"), ack(8, "r_1")])
    assert found["received"] == {"r_0": [(7, 8)], "r_1": [(8, 9)]}
    assert found["acked"] == {"r_0": [(7, 8, "7-0")], "r_1": [(8, 9, "8-0")]}
    assert found["different"] == ["client 3 of r_1 got 1 messages, the witness 1"]


def test_quantiles_go_from_the_least_to_the_most() -> None:
    """In ms; of nothing there are none."""
    found = quantiles_ms([3_000_000, 1_000_000, 2_000_000])
    assert (len(found), found[0], found[500], found[1000]) == (1001, 1.0, 2.0, 3.0)
    assert quantiles_ms([]) == []
