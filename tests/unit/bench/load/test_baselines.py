"""What the baselines send: Comet's bytes, with the mark that came."""

from bench.load import wire
from bench.load.baselines import RecordedFlush, room_of, texts

MARKED = b"~at~%019d"
MESSAGE = b'{"id":"1-0","seq":%d,"content":"%b"}'


def flush(*seqs: int) -> bytes:
    """Return a flush as Comet's are."""
    messages = b",".join(MESSAGE % (seq, MARKED % 0) for seq in seqs)
    return wire.frame(b'{"type":"serverMessages","payload":{"messages":[%b]}}' % messages)


def test_a_flush_is_replayed_with_the_mark_that_came() -> None:
    """In all of its messages; the rest is as it was recorded."""
    it = RecordedFlush()
    it.set(flush(1, 2, 3))
    sent = it.marked_like(b"whatever " + MARKED % 77 + b" whatever")
    assert sent == flush(1, 2, 3).replace(MARKED % 0, MARKED % 77)


def test_texts_are_the_same_bytes_a_message_each() -> None:
    """One text for each message of all frames, each with its mark; nothing but the commas between them is lost."""
    joined = flush(1, 2, 3) + flush(4)
    found = texts(joined)
    assert len(found) == 4
    assert all(text.count("~at~") == 1 for text in found)
    assert len("".join(found)) == len(joined) - 2 - 4 - 2


def test_room_of() -> None:
    """As a client asks for it; none for who is to have no room."""
    assert room_of("/?rooms=a_1&uid=u") == "a_1"
    assert room_of("/?rooms=&uid=u") == ""
