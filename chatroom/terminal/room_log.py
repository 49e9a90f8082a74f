"""What a room shows: what was said in it, who is there, and what its user has sent and not seen yet. Pure.

A sent text stands below all else until the message itself comes, which carries no ref: they are matched by the ack's
id, or before the ack comes by the text. So it is seen once, and never not at all.

Neighbours: `app.py` brings events and answers, `lines.py` lays it out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from chatroom_client import Ack, History, Hole, Message, System, User

KEPT: Final = 2000  # entries; what is older is dropped, and asked for again when it is scrolled to
_DROPPED_AT_ONCE: Final = 200

Said: TypeAlias = Message | Hole | System


class DraftState(Enum):
    """What became of a sent text."""

    PENDING = "pending"
    SENT = "sent"  # acked
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class LogEntry:
    """One thing that was said, and how it was last laid out."""

    said: Said
    laid: object = None  # the layout's alone: for what, the lines, behind what


@dataclass(slots=True, eq=False)
class Draft:
    """A text that the user has sent."""

    ref: str
    text: str
    state: DraftState = DraftState.PENDING
    why: str = ""  # it failed
    refused: bool = False  # by the server, so that it is stored nowhere
    stored_id: str | None = None  # from the ack, or of the message that looks like it
    seen: bool = False  # its message stands in the log


@dataclass(slots=True, eq=False)
class RoomLog:
    """One room."""

    room: str
    entries: list[LogEntry] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    unread: int = 0
    online: int = 0
    users: tuple[User, ...] = ()
    more: bool | None = None  # there may be older messages; None: not joined yet
    loading: bool = False  # older messages are asked for

    def take(self, said: Said, me: User | None) -> None:
        """Add what was said."""
        self.entries.append(LogEntry(said))
        if isinstance(said, Message) and me is not None and said.user.id == me.id:
            self._see(said)
        if len(self.entries) > KEPT:
            del self.entries[:_DROPPED_AT_ONCE]
            self.more = True

    def take_older(self, page: History) -> None:
        """Add a page of history above all else."""
        known = {entry.said.id for entry in self.entries if isinstance(entry.said, Message)}
        self.entries[:0] = [LogEntry(message) for message in page.messages if message.id not in known]
        self.more = page.more

    @property
    def oldest_id(self) -> str | None:
        """The id of the first message that has one."""
        return next(
            (entry.said.id for entry in self.entries if isinstance(entry.said, Message) and entry.said.id), None
        )

    def waiting(self) -> Iterator[Draft]:
        """Yield the drafts to be shown below the messages."""
        return (draft for draft in self.drafts if not draft.seen)

    def acked(self, draft: Draft, ack: Ack) -> None:
        """Take the server's word that it is stored."""
        draft.state, draft.stored_id = DraftState.SENT, ack.id
        draft.seen = any(isinstance(one.said, Message) and one.said.id == ack.id for one in reversed(self.entries))
        if draft.seen:
            self.drafts.remove(draft)

    def failed(self, draft: Draft, why: str, *, refused: bool) -> None:
        """Take the word that it is not stored, or that nobody knows."""
        if draft.seen and not refused:  # what came meanwhile shows that it is
            self.drafts.remove(draft)
            return
        draft.state, draft.why, draft.refused, draft.seen = DraftState.FAILED, why, refused, False

    def _see(self, message: Message) -> None:
        """Match a message of the user's own with the draft that it was."""
        by_id = (draft for draft in self.drafts if draft.stored_id == message.id)
        by_text = (
            draft
            for draft in self.drafts
            if draft.stored_id is None and not draft.refused and draft.text == message.content
        )
        draft = next(by_id, None) or next(by_text, None)
        if draft is None:
            return
        draft.seen, draft.stored_id = True, message.id
        if draft.state is not DraftState.PENDING:  # the ack has come, or nobody waits for it any more
            self.drafts.remove(draft)
