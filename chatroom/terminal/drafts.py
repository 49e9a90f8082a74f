"""What the user has typed: sent to the server, room by room, until it is stored or refused.

Owns the queues of what is not sent yet. Each room's drafts are sent one after the other, so that they keep their order
whatever happens to the connection. They are bounded by what a user types.

Neighbours: `app.py` brings what is typed and runs `send_all` for each room; `room_log.py` holds the drafts, and matches
them with the messages that come.
"""

import asyncio
import uuid
from collections.abc import Callable

from chatroom import text
from chatroom.terminal.room_log import Draft, DraftState, RoomLog
from chatroom_client import ChatClient, ChatError, Disconnected, OutcomeUnknown


class Drafts:
    """The drafts of all rooms; `renew` is called with the log of which one was answered."""

    def __init__(self, chat: ChatClient, renew: Callable[[RoomLog], None]) -> None:
        self._chat = chat
        self._renew = renew
        self._unsent: dict[RoomLog, asyncio.Queue[Draft]] = {}

    def open(self, log: RoomLog) -> None:
        """Make place for a room's drafts."""
        self._unsent[log] = asyncio.Queue()

    def close(self, log: RoomLog) -> None:
        """Forget a room's drafts; whoever runs `send_all` for it ends that."""
        del self._unsent[log]

    def waiting(self, log: RoomLog | None = None) -> int:
        """Return how many texts wait to be stored, of one room or of all."""
        logs = self._unsent if log is None else [log]
        return sum(draft.state is DraftState.PENDING for one in logs for draft in one.drafts)

    # -- what the user wants -----------------------------------------------------------------------------------------

    def say(self, log: RoomLog, words: str) -> None:
        """Send a text to a room."""
        draft = Draft(uuid.uuid4().hex, words)
        log.drafts.append(draft)
        self._unsent[log].put_nowait(draft)

    def retry(self, log: RoomLog) -> None:
        """Send again what failed in a room."""
        for draft in log.drafts:
            if draft.state is DraftState.FAILED:
                draft.state, draft.refused = DraftState.PENDING, False
                self._unsent[log].put_nowait(draft)

    def drop(self, log: RoomLog) -> None:
        """Remove what failed in a room."""
        log.drafts[:] = [one for one in log.drafts if one.state is not DraftState.FAILED]

    # -- sending -----------------------------------------------------------------------------------------------------

    async def send_all(self, log: RoomLog) -> None:
        """Send a room's drafts in their order, those to come as well."""
        unsent = self._unsent[log]
        while True:
            await self._send(log, await unsent.get())
            self._renew(log)

    async def _send(self, log: RoomLog, draft: Draft) -> None:
        try:
            log.acked(draft, await self._chat.send(log.room, draft.text, draft.ref))
        except ChatError as e:
            log.failed(draft, text.plain(e.message), refused=True)
        except OutcomeUnknown:
            log.failed(draft, "no answer came in time: it may or may not be stored", refused=False)
        except TimeoutError:
            log.failed(draft, "it could not be sent in time", refused=False)
        except Disconnected:
            log.failed(draft, "the connection is closed", refused=False)
