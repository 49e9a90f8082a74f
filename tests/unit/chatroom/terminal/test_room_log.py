"""A room's log: a sent text is seen once, whichever of its ack and its message comes first."""

from chatroom.terminal.room_log import KEPT, Draft, DraftState, RoomLog
from chatroom_client import Ack, History, Message, User

ME = User("me", "Me")
OTHER = User("u2", "Bob")


def message(seq: int, content: str = "hi", user: User = ME) -> Message:
    """Return a message."""
    return Message("r", 1, seq, f"1-{seq}", content, seq, user)


def ack(seq: int) -> Ack:
    """Return the ack of a message."""
    return Ack("ref", "r", 1, seq, f"1-{seq}", seq)


def log_with(*texts: str) -> tuple[RoomLog, list[Draft]]:
    """Return a log in which texts were sent."""
    log = RoomLog("r", drafts=[Draft(f"ref-{i}", text) for i, text in enumerate(texts)])
    return log, list(log.drafts)


def shown(log: RoomLog) -> list[str]:
    """Return all texts in the order in which they stand."""
    said = [entry.said.content for entry in log.entries if isinstance(entry.said, Message)]
    return said + [draft.text for draft in log.waiting()]


def test_the_ack_comes_first() -> None:
    """The draft is marked sent, and gone when its message comes."""
    log, (draft,) = log_with("hi")
    log.acked(draft, ack(1))
    assert draft.state is DraftState.SENT
    assert shown(log) == ["hi"]
    log.take(message(1), ME)
    assert shown(log) == ["hi"]
    assert log.drafts == []


def test_the_message_comes_first() -> None:
    """The draft makes room for it at once, and is gone with the ack."""
    log, (draft,) = log_with("hi")
    log.take(message(1), ME)
    assert shown(log) == ["hi"]
    log.acked(draft, ack(1))
    assert log.drafts == []


def test_the_same_text_twice_is_seen_twice() -> None:
    """Each draft is matched with a message of its own."""
    log, (first, second) = log_with("hi", "hi")
    log.take(message(1), ME)
    assert shown(log) == ["hi", "hi"]
    log.acked(first, ack(1))
    log.acked(second, ack(2))
    log.take(message(2), ME)
    assert shown(log) == ["hi", "hi"]
    assert log.drafts == []


def test_the_same_words_from_another_window_are_not_taken_for_it() -> None:
    """The ack decides: the draft is shown again until its own message comes."""
    log, (draft,) = log_with("hi")
    log.take(message(1), ME)
    log.acked(draft, ack(2))
    assert shown(log) == ["hi", "hi"]
    log.take(message(2), ME)
    assert shown(log) == ["hi", "hi"]
    assert log.drafts == []


def test_somebody_elses_words_are_no_draft_of_mine() -> None:
    """Though they are the same."""
    log, _ = log_with("hi")
    log.take(message(1, user=OTHER), ME)
    assert shown(log) == ["hi", "hi"]


def test_a_refused_text_stays_with_its_reason() -> None:
    """Whatever comes meanwhile."""
    log, (draft,) = log_with("hi")
    log.failed(draft, "too large", refused=True)
    log.take(message(1), ME)
    assert (draft.state, draft.why) == (DraftState.FAILED, "too large")
    assert shown(log) == ["hi", "hi"]


def test_an_unanswered_text_is_gone_when_it_turns_up_stored() -> None:
    """Before or after it was given up."""
    log, (draft,) = log_with("hi")
    log.failed(draft, "no answer", refused=False)
    log.take(message(1), ME)
    assert log.drafts == []
    log, (draft,) = log_with("hi")
    log.take(message(1), ME)
    log.failed(draft, "no answer", refused=False)
    assert (log.drafts, shown(log)) == ([], ["hi"])


def test_older_messages_stand_above_and_none_twice() -> None:
    """Also where a page holds what is shown already."""
    log = RoomLog("r")
    log.take(message(3, "three"), ME)
    assert log.oldest_id == "1-3"
    log.take_older(History((message(1, "one"), message(2, "two"), message(3, "three")), more=False))
    assert shown(log) == ["one", "two", "three"]
    assert log.oldest_id == "1-1"
    assert log.more is False


def test_the_log_is_bounded() -> None:
    """What was dropped can be loaded again."""
    log = RoomLog("r", more=False)
    for seq in range(1, KEPT + 2):
        log.take(message(seq, user=OTHER), ME)
    assert len(log.entries) <= KEPT
    assert log.more is True
    assert log.oldest_id != "1-1"
