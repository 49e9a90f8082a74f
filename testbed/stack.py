"""A stack of services: Logic, Comets and Jobs, each a program of its own, led to each other by their settings.

The stack does not start the Redis and the Kafka that it uses: the bench keeps them over many stacks, and a chaos run
kills them. Neighbor: `chatroom_up.py` runs the product's own command instead.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from chatroom.up.guard import Guard
from chatroom.up.ports import LOOPBACK
from testbed.ports import free_port
from testbed.program import Program
from testbed.service import NO_SETTINGS, CometProgram, ServiceProgram, shared_settings

REDIS: Final = "redis"
LOGIC: Final = "logic"
PUSH: Final = "push"

# Gets a service's name, which of its lines this is, and the address at the line's end (a URL, or host:port).
# Returns the address to use.
Line = Callable[[str, str, str], str]
NO_SERVERS: Final[Mapping[str, Program]] = MappingProxyType({})


def straight(_name: str, _line: str, address: str) -> str:
    """Leave each line without anything between its ends."""
    return address


class Stack:
    """Services, not started yet. `settings` are for all of them, named as in the environment.

    `line` may put a relay or a proxy on each line: from each service to Redis (`REDIS`), from each node to Logic
    (`LOGIC`), and from the Jobs to each node (`PUSH`). `runner` runs each service (see `ServiceProgram`). `servers` are
    Redis and Kafka, where the test bed runs them.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of its own, named by those who make it
        self,
        guard: Guard,
        directory: Path,
        *,
        redis_url: str,
        brokers: str,
        topic: str,
        comets: int = 1,
        jobs: int = 1,
        settings: Mapping[str, str] = NO_SETTINGS,
        line: Line = straight,
        runner: Sequence[str] = (),
        servers: Mapping[str, Program] = NO_SERVERS,
    ) -> None:
        self.redis_url, self.brokers, self.topic, self.group = redis_url, brokers, topic, topic
        self._guard = guard
        self._directory = directory
        self._settings = settings
        self._line = line
        self._runner = runner
        self._servers = servers
        self.logic = self._worker("logic", "logic")
        self.comets = [self._comet(name) for name in _names("comet", comets)]
        self.jobs = [self._worker("job", name) for name in _names("job", jobs)]

    @property
    def services(self) -> list[ServiceProgram]:
        """Logic, the Comets, the Jobs."""
        return [self.logic, *self.comets, *self.jobs]

    def pids(self) -> dict[str, int]:
        """Return the pid of each program by name: logic, comet (comet-0 of several), job likewise, and the servers."""
        services = {service.name: service.pid for service in self.services}
        return services | {name: server.pid for name, server in self._servers.items()}

    def _shared(self, name: str) -> dict[str, str]:
        redis_url = self._line(name, REDIS, self.redis_url)
        return shared_settings(redis_url, self.brokers, self.topic) | dict(self._settings)

    def _worker(self, module: str, name: str) -> ServiceProgram:
        directory = self._directory / name
        return ServiceProgram(self._guard, module, directory, self._shared(name), name=name, runner=self._runner)

    def _comet(self, name: str) -> CometProgram:
        grpc_port = free_port()
        own = {
            "COMET_FORWARD_URL": self._line(name, LOGIC, self.logic.http_url),
            "COMET_GRPC_PORT": str(grpc_port),
            "COMET_ADVERTISE_ADDRESS": self._line(name, PUSH, f"{LOOPBACK}:{grpc_port}"),
        }
        settings = own | self._shared(name)
        redis_url, directory = settings["CHAT_REDIS_URL"], self._directory / name
        return CometProgram(self._guard, directory, redis_url, settings, name=name, runner=self._runner)


def _names(module: str, count: int) -> list[str]:
    return [module] if count == 1 else [f"{module}-{k}" for k in range(count)]
