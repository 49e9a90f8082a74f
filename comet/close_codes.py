"""The close codes of WebSocket connections: the one table of all that Comet sends or counts. Pure.

docs/client-guide.md explains each to the authors of clients, and a test holds it against this table.
"""

from enum import IntEnum
from typing import Self


class CloseCode(IntEnum):
    """A close code, whether a client reconnects after it, and the reason in the close frame where it never varies.

    Those below 4000 have the names of RFC 6455, 7.4, and its IANA registry.
    """

    reconnects: bool
    reason: str

    def __new__(cls, number: int, reconnects: bool, reason: str = "") -> Self:  # noqa: FBT001 - a row of the table
        """Make a row of the table."""
        row = int.__new__(cls, number)
        row._value_ = number
        row.reconnects = reconnects
        row.reason = reason
        return row

    NORMAL_CLOSURE = 1000, True  # only a client sends it
    GOING_AWAY = 1001, True
    PROTOCOL_ERROR = 1002, True
    ABNORMAL_CLOSURE = 1006, True  # never sent: it stands for a connection that was lost
    INVALID_DATA = 1007, True
    POLICY_VIOLATION = 1008, False
    MESSAGE_TOO_BIG = 1009, False
    INTERNAL_ERROR = 1011, True
    SERVICE_RESTART = 1012, True, "restarting"
    TRY_AGAIN_LATER = 1013, True
    SLOW_CONSUMER = 4001, True, "slow consumer"
    RATE_LIMITED = 4002, False, "rate limited too long"
    REPLACED = 4003, False  # not sent yet
