"""The allowance: how many messages a session may send at the moment.

A bucket that fills with time: a burst of `rate_burst_messages`, then `rate_messages_per_second`. Whoever goes on and on
without any left, and makes no pause, uses up the node's patience too.

Neighbour: comet/session.py takes from it for every frame, and closes the session when patience is over.
"""

import time

from comet.config import CometSettings
from common.errors import RateLimited


class Allowance:
    """One session's allowance, in messages."""

    __slots__ = ("_at", "_left", "_limited_since", "_settings")

    def __init__(self, settings: CometSettings) -> None:
        self._settings = settings
        self._left = float(settings.rate_burst_messages)
        self._at = time.monotonic()  # when so much was left
        self._limited_since = 0.0  # since when more is sent than may be, without a pause; 0: not now

    def take(self, messages: int) -> None:
        """Take for so many messages. Raises RateLimited, and takes nothing, when less is left."""
        settings, now = self._settings, time.monotonic()
        earned = (now - self._at) * settings.rate_messages_per_second
        self._left = min(float(settings.rate_burst_messages), self._left + earned)
        self._at = now
        if self._left > settings.rate_burst_messages / 2:
            self._limited_since = 0.0  # it made a pause
        if messages > self._left:
            self._limited_since = self._limited_since or now
            raise RateLimited(f"at most {settings.rate_messages_per_second:g} messages a second; slow down")
        self._left -= messages

    @property
    def overdrawn(self) -> bool:
        """Whether more was sent than may be for longer than `rate_patience_seconds`, as of the last take."""
        return self._limited_since > 0 and self._at - self._limited_since > self._settings.rate_patience_seconds
