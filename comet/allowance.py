"""The allowance: how many messages a session may send at the moment, and how long it is borne to send more.

A bucket that fills with time: a burst of `rate_burst_messages`, then `rate_messages_per_second`. A refusal tells when
the frame would be accepted. A session defies it with a frame that comes earlier and is refused, too. A session that has
defied its refusals for `rate_patience_seconds`, without a pause of CALM_S, is overdrawn. A client that waits as it is
told and then paces itself never is: the frames that it sent before it read the refusal arrive within a short time.

Neighbor: comet/session.py takes from it for every frame, and closes a session that is overdrawn.
"""

import time
from typing import Final

from comet.config import CometSettings
from common.errors import RateLimited

CALM_S: Final = 1.0  # without a refusal, behind the time that the last one told: the client has made a pause


class Allowance:
    """One session's allowance, in messages."""

    __slots__ = ("_at", "_defiant_since", "_left", "_refused_until", "_settings", "overdrawn")

    def __init__(self, settings: CometSettings) -> None:
        self._settings = settings
        self._left = float(settings.rate_burst_messages)
        self._at = time.monotonic()  # when so much was left
        self._refused_until = 0.0  # the time that the refusals told
        self._defiant_since = 0.0  # the time of the first of the frames that defied them; 0: none did
        self.overdrawn = False  # refusals were defied for longer than `rate_patience_seconds`

    def take(self, messages: int) -> None:
        """Take for so many messages, at most a whole burst. Raises RateLimited, and takes nothing, if less is left."""
        settings, now = self._settings, time.monotonic()
        earned = (now - self._at) * settings.rate_messages_per_second
        self._left = min(float(settings.rate_burst_messages), self._left + earned)
        self._at = now
        cost = min(messages, settings.rate_burst_messages)
        if cost > self._left:
            raise self._refusal(now, (cost - self._left) / settings.rate_messages_per_second)
        self._left -= cost

    def _refusal(self, now: float, wait_s: float) -> RateLimited:
        """Return the error that tells when to send again. Take note of a client that did not wait for the last one."""
        if now > self._refused_until + CALM_S:
            self._defiant_since = 0.0
        elif now < self._refused_until:
            self._defiant_since = self._defiant_since or now
            self.overdrawn = now - self._defiant_since > self._settings.rate_patience_seconds
        self._refused_until = max(self._refused_until, now + wait_s)
        return RateLimited(
            f"at most {self._settings.rate_messages_per_second:g} messages a second; slow down",
            retry_after_ms=int(wait_s * 1000) + 1,
        )
