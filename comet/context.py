"""The context: what all sessions of a node share. No behaviour.

Neighbours: comet/app.py makes it, comet/gateway.py says when the node is full, comet/session.py lives in it.
"""

import asyncio

from comet import limits
from comet.config import CometSettings
from comet.hub import Hub
from comet.membership import Membership
from comet.presence import Presences
from common.store import Store


class Context:
    """What all sessions of a node share."""

    def __init__(
        self, settings: CometSettings, store: Store, hub: Hub, presences: Presences, membership: Membership
    ) -> None:
        self.settings = settings
        self.store = store
        self.hub = hub
        self.presences = presences
        self.membership = membership
        self.limits = limits.of_frames(settings)
        self.limits_json = limits.as_json(settings)  # as every hello tells them
        self.tasks: asyncio.TaskGroup | None = None  # owns what sessions wait for; set when the node runs
        self.draining = False  # no new messages: the node is about to stop
        self.full = False  # no new rooms: the node's memory is used up
