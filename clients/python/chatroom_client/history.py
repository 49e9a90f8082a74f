"""Requests for pages of history: each is sent until it is answered, and again on each new connection.

The server answers in the order of the requests. A `roomHistory` frame carries no ref, an `error` frame does. A request
therefore stays here until its answer arrives, even if its caller was cancelled. Bound: the callers that wait.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from chatroom_client.connection import Connection
from chatroom_client.errors import ChatError, Internal
from chatroom_client.pace import Pace
from chatroom_client.refs import Refs
from chatroom_client.room import older_messages
from chatroom_client.types import History


@dataclass(slots=True, eq=False)
class HistoryRequest:
    """A request for one page."""

    payload: dict[str, Any]
    page: asyncio.Future[History]
    sent: bool = False  # on the present connection, and not refused since


class HistoryRequests:
    """The open requests of one client by ref, in the order of sending."""

    def __init__(self, connection: Connection, pace: Pace, refs: Refs) -> None:
        self._connection = connection
        self._pace = pace
        self._refs = refs
        self._requests: dict[str, HistoryRequest] = {}

    async def fetch(self, room: str, before: str | None, limit: int | None) -> History:
        """Return a page. Raises the server's final refusal, and the failure given to `fail_all`."""
        ref = self._refs.new()
        wanted = {"firstMessageId": before, "limit": limit}
        payload = {"roomId": room, "ref": ref} | {key: value for key, value in wanted.items() if value is not None}
        request = self._requests[ref] = HistoryRequest(payload, asyncio.get_running_loop().create_future())
        self.send_all()
        return await request.page

    def send_all(self) -> None:
        """Send each request not yet sent on this connection, as far as the pace allows it."""
        for request in self._requests.values():
            if not request.sent and self._connection.is_open and self._pace.take():
                request.sent = True
                self._connection.send("requestRoomHistory", request.payload)

    def on_history(self, payload: dict[str, Any]) -> None:
        """Take a `roomHistory` frame: it answers the first request that was sent for its room."""
        sent = (ref for ref, one in self._requests.items() if one.sent and one.payload["roomId"] == payload["roomId"])
        if (ref := next(sent, None)) is not None:
            page = self._requests.pop(ref).page
            if page.done():
                return
            try:
                history = History(tuple(older_messages(payload)), payload["hasMoreMessages"])
            except (KeyError, TypeError, AttributeError):
                page.set_exception(Internal("the server sent a malformed page of history"))
                raise
            page.set_result(history)

    def on_error(self, ref: str | None, error: ChatError) -> bool:
        """Take an `error` frame and return whether it answers a request."""
        if ref is None or (request := self._requests.pop(ref, None)) is None:
            return False
        if error.retriable or isinstance(error, Internal):
            request.sent = False
            self._requests[ref] = request  # behind the requests that were sent meanwhile
        elif not request.page.done():
            request.page.set_exception(error)
        return True

    def on_lost(self) -> None:
        """Prepare the next connection: send each request again, and forget those whose caller was cancelled."""
        self._requests = {ref: one for ref, one in self._requests.items() if not one.page.done()}
        for request in self._requests.values():
            request.sent = False

    def fail_all(self, failure: BaseException) -> None:
        """Raise the failure in each waiting caller: the client has ended."""
        for request in self._requests.values():
            if not request.page.done():
                request.page.set_exception(failure)
        self._requests.clear()
