"""The limits of a session: those that its frames are held to, and all of them as its hello tells them. Pure.

Neighbor: comet/context.py keeps both for all sessions of a node, which share them.
"""

import orjson

from comet import frames
from comet.config import CometSettings


def of_frames(settings: CometSettings) -> frames.Limits:
    """Return the limits of a clientMessages frame. One with more messages than a burst would never be accepted."""
    return frames.Limits(settings.max_content_bytes, min(settings.max_messages_per_frame, settings.rate_burst_messages))


def as_json(settings: CometSettings) -> bytes:
    """Return the `limits` of a hello."""
    allowed = of_frames(settings)
    return orjson.dumps(
        {
            "messagesPerSecond": settings.rate_messages_per_second,
            "burstMessages": settings.rate_burst_messages,
            "patienceSeconds": settings.rate_patience_seconds,
            "messagesPerFrame": allowed.messages,
            "contentBytes": allowed.content_bytes,
            "frameBytes": settings.max_frame_bytes,
            "rooms": settings.max_rooms_per_session,
            "refWindowSeconds": settings.ref_window_seconds,
        }
    )
