"""The limits of a session, as its frames are held to and as hello tells."""

import json

from comet import limits
from tests.support.comet_settings import comet_settings


def test_hello_tells_each_limit_of_a_session_by_its_setting() -> None:
    """A client can pace itself by them."""
    settings = comet_settings(
        rate_messages_per_second=2.5,
        rate_burst_messages=7,
        rate_patience_seconds=3,
        max_messages_per_frame=6,
        max_content_bytes=50,
        max_frame_bytes=2000,
        max_rooms_per_session=9,
        ref_window_seconds=20,
    )
    assert json.loads(limits.as_json(settings)) == {
        "messagesPerSecond": 2.5,
        "burstMessages": 7,
        "patienceSeconds": 3,
        "messagesPerFrame": 6,
        "contentBytes": 50,
        "frameBytes": 2000,
        "rooms": 9,
        "refWindowSeconds": 20,
    }


def test_frame_holds_no_more_messages_than_a_burst() -> None:
    """More would be refused for the moment, each time anew."""
    settings = comet_settings(rate_burst_messages=7, max_messages_per_frame=100)
    assert limits.of_frames(settings).messages == 7
    assert json.loads(limits.as_json(settings))["messagesPerFrame"] == 7
