"""What the client asks of rooms' histories: each asked until it is answered, again on each new connection.

Owns each `requestRoomHistory` without an answer. Answers come in the order of asking, a `roomHistory` without a ref, an
`error` with it; so one that nobody waits for any more is still waited for here. Bounded by who asks.

Neighbours: `client.py` brings the frames and tells of connections.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from chatroom_client.connection import Link
from chatroom_client.errors import ChatError, Internal
from chatroom_client.pause import Pause
from chatroom_client.refs import Refs
from chatroom_client.room import older_messages
from chatroom_client.types import History


@dataclass(slots=True, eq=False)
class Question:
    """One page that was asked for."""

    payload: dict[str, Any]
    answer: asyncio.Future[History]
    asked: bool = False  # on the present connection, and not refused since


class Histories:
    """The questions of one client, by ref, in the order of asking."""

    def __init__(self, link: Link, pause: Pause, refs: Refs) -> None:
        self._link = link
        self._pause = pause
        self._refs = refs
        self._questions: dict[str, Question] = {}

    async def ask(self, room: str, before: str | None, limit: int | None) -> History:
        """Return a page. Raises what the server refuses it with for good, and what `end` was given."""
        ref = self._refs.new()
        wanted = {"firstMessageId": before, "limit": limit}
        payload = {"roomId": room, "ref": ref} | {key: value for key, value in wanted.items() if value is not None}
        one = self._questions[ref] = Question(payload, asyncio.get_running_loop().create_future())
        self.ask_all()
        return await one.answer

    def ask_all(self) -> None:
        """Ask what was not asked on this connection, unless nothing is to be sent now."""
        for one in self._questions.values():
            if not one.asked and self._link.is_open and not self._pause.is_on:
                one.asked = True
                self._link.send("requestRoomHistory", one.payload)

    def on_history(self, payload: dict[str, Any]) -> None:
        """Take a `roomHistory`: the answer to the first that was asked for this room."""
        asked = (
            ref for ref, one in self._questions.items() if one.asked and one.payload["roomId"] == payload["roomId"]
        )
        if (ref := next(asked, None)) is not None:
            one = self._questions.pop(ref)
            if one.answer.done():
                return
            try:
                page = History(tuple(older_messages(payload)), payload["hasMoreMessages"])
            except (KeyError, TypeError, AttributeError):
                one.answer.set_exception(Internal("the page makes no sense"))
                raise
            one.answer.set_result(page)

    def refused(self, ref: str | None, fault: ChatError) -> bool:
        """Take an `error`; return whether it answers a question."""
        if ref is None or (one := self._questions.pop(ref, None)) is None:
            return False
        if fault.retriable or isinstance(fault, Internal):
            one.asked = False
            self._questions[ref] = one  # it is asked behind those that wait now
            self._pause.begin()
        elif not one.answer.done():
            one.answer.set_exception(fault)
        return True

    def lost(self) -> None:
        """Ask all again on the next connection, but for those that nobody waits for."""
        self._questions = {ref: one for ref, one in self._questions.items() if not one.answer.done()}
        for one in self._questions.values():
            one.asked = False

    def end(self, fault: BaseException) -> None:
        """Fail whoever waits: there will be no more answers."""
        for one in self._questions.values():
            if not one.answer.done():
                one.answer.set_exception(fault)
        self._questions.clear()
