"""The Python client of ChatRoom. `ChatClient` is where to start."""

from importlib.metadata import version

from chatroom_client.client import ChatClient
from chatroom_client.errors import (
    BadRequest,
    ChatError,
    Disconnected,
    Forbidden,
    Internal,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    TooLarge,
    Unavailable,
)
from chatroom_client.events import Connected, Event, Hole, Presence, Reconnecting, Removed, System
from chatroom_client.types import Ack, History, Joined, Message, Position, User

__all__ = [
    "Ack",
    "BadRequest",
    "ChatClient",
    "ChatError",
    "Connected",
    "Disconnected",
    "Event",
    "Forbidden",
    "History",
    "Hole",
    "Internal",
    "Joined",
    "Message",
    "OutcomeUnknown",
    "Overloaded",
    "Position",
    "Presence",
    "RateLimited",
    "Reconnecting",
    "Removed",
    "System",
    "TooLarge",
    "Unavailable",
    "User",
]

__version__ = version("chatroom-client")
