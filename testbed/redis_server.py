"""A real Redis for tests and measurements, with the very settings that `chatroom up` embeds it with."""

from collections.abc import Mapping
from pathlib import Path

import redis
from redis.exceptions import RedisError

from chatroom import config
from chatroom.up import embedded
from chatroom.up.guard import Guard
from testbed.ports import free_port
from testbed.program import Program


class RedisServer(Program):
    """A server with a port and a folder of its own, which it keeps over stop() and start(), and so its data."""

    def __init__(self, guard: Guard, directory: Path, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(guard, "redis", directory)
        self._environ = environ or {}
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def argv(self) -> list[str]:
        """As embedded."""
        return embedded.redis_argv(embedded.redis_program(), self.port, self.directory, "notice")

    def environ(self) -> Mapping[str, str] | None:
        """As embedded, with the added variables."""
        return {**config.server_environ(), **self._environ}

    def answers(self) -> bool:
        """PING it."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def client(self) -> redis.Redis:
        """Return a synchronous client, for the caller to close."""
        return redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=5)

    def clear(self) -> None:
        """Remove all keys. Loaded scripts stay."""
        with self.client() as client:
            client.flushall()
