"""The pace: when the client may send its next frame.

The server counts each frame. The pace stays within the limits that the server told in `hello`, with a margin, because
the network may bunch frames: a bucket with half of the burst that refills with 95 % of the rate. A server that tells no
limits is not paced.

After a refusal for the moment the client sends nothing until `retryAfterMs` has passed, if the refusal told it, and
a jittered pause. The bound of that pause doubles from one to the next, unless the last one began long ago.

Order: requests such as joins, leaves and history go before messages, and a tenth of the bucket is kept for them. So
they wait for no message. Messages go in the order of their calls.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

from chatroom_client import frames
from chatroom_client.backoff import Backoff
from chatroom_client.errors import ChatError, RateLimited

RATE_SHARE: Final = 0.95
BURST_SHARE: Final = 0.5
RESERVE_SHARE: Final = 0.1  # of the bucket, for requests other than messages
TICK_S: Final = 0.01  # between two bunches of frames: a wake-up for each one would cost more than it brings


class Bucket:
    """A bucket of frames that fills with time, like that of the server. Pure: its caller tells the time in seconds."""

    def __init__(self, rate_per_s: float, burst: float, now: float) -> None:
        self._rate_per_s = rate_per_s * RATE_SHARE
        self._most = max(1.0, burst * BURST_SHARE)
        self._reserve = min(self._most * RESERVE_SHARE, self._most - 1.0)
        self._left = self._most
        self._at = now  # when so much was left

    def take(self, now: float, *, message: bool) -> float:
        """Take for one frame. Return 0, or the seconds to wait if too little is left; then nothing is taken."""
        self._left = min(self._most, self._left + max(0.0, now - self._at) * self._rate_per_s)
        self._at = now
        missing = 1.0 + (self._reserve if message else 0.0) - self._left
        if missing > 0.0:
            return missing / self._rate_per_s
        self._left -= 1.0
        return 0.0

    def empty(self) -> None:
        """Count nothing as left: the server has refused a frame."""
        self._left = min(self._left, 0.0)


class Pace:
    """Says of each frame whether it may go now. If one may not, `send_all` is called as soon as one may."""

    def __init__(self, backoff: Backoff, send_all: Callable[[], None]) -> None:
        self._backoff = backoff
        self._send_all = send_all
        self._bucket: Bucket | None = None
        self._shut = False  # nothing may go until the timer fires
        self._shut_to_messages = False  # a message waits for the timer, and those behind it as well
        self._timer: asyncio.TimerHandle | None = None
        self._pause_began_at = -math.inf
        self._paused_until = -math.inf
        self._stopped = False

    def begin(self, limits: object) -> None:
        """Start a connection with a full bucket of these limits, if they are valid, and send all requests."""
        self._bucket = _bucket(limits, asyncio.get_running_loop().time())
        self._open()

    def take(self, *, message: bool = False) -> bool:
        """Return whether a frame may be sent now, and count it."""
        if self._shut or (message and self._shut_to_messages):
            return False
        now = asyncio.get_running_loop().time()
        wait_s = self._bucket.take(now, message=message) if self._bucket is not None else 0.0
        if wait_s == 0.0:
            return True
        self._shut_to_messages = True
        self._shut = not message
        due = now + max(wait_s, TICK_S)
        if self._timer is None or due < self._timer.when():
            self._arm(due)
        return False

    def pause(self, error: ChatError | None = None) -> None:
        """Send nothing for a while: the server refused a request for the moment, or a message of a room is missing."""
        if self._stopped:
            return
        now = asyncio.get_running_loop().time()
        told_s = error.retry_after_s if error is not None else 0.0
        if isinstance(error, RateLimited) and self._bucket is not None:
            self._bucket.empty()
        jitter_s = self._jitter_s(now) if now >= self._paused_until else 0.0
        self._paused_until = max(self._paused_until, now + told_s + jitter_s)
        self._shut = self._shut_to_messages = True
        self._arm(self._paused_until)

    def _jitter_s(self, now: float) -> float:
        if now - self._pause_began_at > 2 * self._backoff.cap_s:
            self._backoff.reset()
        self._pause_began_at = now
        return self._backoff.next_s()

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self._stopped else asyncio.get_running_loop().call_at(when, self._open)

    def _open(self) -> None:
        """Let requests through again, first of all those that wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._paused_until = -math.inf
        self._shut = self._shut_to_messages = False
        self._send_all()

    def stop(self) -> None:
        """Send nothing any more: the client has ended."""
        self._stopped = self._shut = True
        if self._timer is not None:
            self._timer.cancel()


def _bucket(limits: object, now: float) -> Bucket | None:
    """Return the bucket of the limits in a hello. An older server tells none, and what is invalid tells none either."""
    told: dict[str, Any] = limits if isinstance(limits, dict) else {}
    rate_per_s, burst = frames.number(told.get("messagesPerSecond")), frames.number(told.get("burstMessages"))
    return Bucket(rate_per_s, burst, now) if rate_per_s > 0 and burst >= 1 else None
