"""Which services run with which settings: asks each for its own, checks their ports, and tells them of each other.

`python -m <service> --print-settings` is the one place where a setting is read and checked; so every bad setting is
found before anything starts, and `up` knows the ports without knowing the rules that made them. Passwords are not
printed there: `up` reads the URL of a Redis that it does not embed by itself.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chatroom.config import Options, redis_url, service_environ
from chatroom.up.endings import LastWords
from chatroom.up.ports import bind_error
from common.errors import SettingError, StartupError
from common.lifecycle import bind_fault

_PRINT_TIMEOUT_S = 60.0
_NO_SETTING = 2  # what a service's own check of its settings exits with
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not bound
LOGIC_URL = "http://localhost:8090"
REDIS_URL = "redis://localhost:6379/0"
KAFKA_BROKERS = "localhost:9092"
COMET_ADDRS = "localhost:50051"


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One service to run: `name` in the output (comet-1), `module` for Python, `settings` in force."""

    name: str
    module: str
    settings: Mapping[str, Any]
    own: Mapping[str, str] = field(default_factory=dict)  # environment that only this one gets

    def port(self, setting: str) -> int:
        """Return a port's number."""
        return int(self.settings[setting])

    def called(self, setting: str) -> str:
        """Return host:port by which programs on this machine reach a port."""
        host = str(self.settings["http_bind_ip"])
        host = _LOOPBACK.get(host, host)
        return f"[{host}]:{self.port(setting)}" if ":" in host else f"{host}:{self.port(setting)}"

    def shown(self, setting: str) -> str:
        """Return host:port as people write it."""
        return self.called(setting).replace("127.0.0.1", "localhost").replace("[::1]", "localhost")

    @property
    def health_port(self) -> str:
        """The setting of the port with /readyz and /metrics."""
        return "http_bind_port" if self.module == "logic" else "metrics_port"

    @property
    def ports(self) -> list[str]:
        """The settings of all ports it listens on."""
        return [name for name in ("http_bind_port", "grpc_port", "metrics_port") if name in self.settings]


def argv(module: str, options: Options, *more: str) -> list[str]:
    """Return a service's command line. -P keeps a folder `job` where the user stands from being taken for ours."""
    config = ["--config", str(options.config)] if options.config else []
    return [sys.executable, "-P", "-m", module, *config, *more]


async def ask_services(options: Options, group: int) -> list[ServicePlan]:
    """Ask all at once, in the process group; return the services with their settings.

    Raises SettingError with every fault found, a line each.
    """
    several = options.comets > 1
    comets = [(f"comet-{k}" if several else "comet", "comet", str(k)) for k in range(options.comets)]
    asked = [*comets, ("logic", "logic", ""), ("job", "job", "")]
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(_ask(*one, options, group)) for one in asked]
    found = [task.result() for task in asking]
    faults = list(dict.fromkeys(line for answer in found if isinstance(answer, list) for line in answer))
    if faults:
        raise SettingError("\n".join(faults))
    return [answer for answer in found if isinstance(answer, ServicePlan)]


async def _ask(name: str, module: str, index: str, options: Options, group: int) -> ServicePlan | list[str]:
    """Return the service, or its faults. Raises StartupError where it can't even say them."""
    own = {"COMET_NODE_INDEX": index} if index else {}
    running = await asyncio.create_subprocess_exec(
        *argv(module, options, "--print-settings"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=service_environ(options) | own,
        process_group=group,
    )
    try:
        async with asyncio.timeout(_PRINT_TIMEOUT_S):
            out, err = (text.decode(errors="replace") for text in await running.communicate())
    except TimeoutError:
        raise StartupError(f"{module} can't start: --print-settings takes over {_PRINT_TIMEOUT_S:.0f} s") from None
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    if running.returncode == _NO_SETTING:
        return [line for line in err.splitlines() if line.strip()]
    try:
        return ServicePlan(name, module, json.loads(out), own)
    except ValueError:
        words = LastWords()
        words.errors.extend(err.splitlines())
        raise StartupError(f"{module} can't start: {words.why(running.returncode or 0)}") from None


def check_ports(services: Sequence[ServicePlan]) -> None:
    """Raise StartupError naming the port and its setting where one is taken, by others or by two of ours."""
    taken: dict[int, str] = {}
    for service in services:
        for name in service.ports:
            port, setting = service.port(name), setting_name(service, name)
            if port in taken:
                raise StartupError(f"port {port} is asked for twice: change {taken[port]} or {setting}")
            taken[port] = setting
            host = service.settings["http_bind_ip"]
            if fault := bind_error(host, port):
                raise StartupError(bind_fault(host, port, setting, fault))


def setting_name(service: ServicePlan, name: str) -> str:
    """Return what to change for another port; node k's ports follow from node 0's."""
    node = f" (of which {service.name} takes its own)" if service.own.get("COMET_NODE_INDEX", "0") != "0" else ""
    return f"{service.module.upper()}_{name.upper()}{node}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` is going to run: the services, and which servers it embeds."""

    options: Options
    services: Sequence[ServicePlan]
    own_redis: bool
    own_kafka: bool
    redis_url: str = field(default="", repr=False)  # with its password; '' where Redis is embedded

    @property
    def keeps_files(self) -> bool:
        """Whether anything that it starts needs the folder."""
        return self.own_redis or self.options.prometheus

    def setting(self, name: str) -> str:
        """Return a setting that all services share, or Job's."""
        return str(self.services[-1].settings[name])


def plan(options: Options, services: Sequence[ServicePlan]) -> Plan:
    """Embed what nobody named: neither an option nor (a value other than the default) in the config file."""
    settings = services[0].settings
    own_redis = options.redis is None and settings["redis_url"] == REDIS_URL
    own_kafka = options.kafka is None and settings["kafka_brokers"] == KAFKA_BROKERS
    url = "" if own_redis else redis_url(options)
    return Plan(options, _introduced(services, own_redis=own_redis), own_redis, own_kafka, url)


def _introduced(services: Sequence[ServicePlan], *, own_redis: bool) -> list[ServicePlan]:
    """Return the services, told where to find each other unless somebody set that otherwise.

    With a Redis of its own the stack is on this machine alone, so nodes are called over loopback; else they advertise
    the machine's address, as Comet does by itself.
    """
    by_module = {service.module: service for service in reversed(services)}
    logic_url = f"http://{by_module['logic'].called('http_bind_port')}"
    grpc = ",".join(service.called("grpc_port") for service in services if service.module == "comet")

    def told(service: ServicePlan) -> dict[str, str]:
        found: dict[str, str] = {}
        if service.settings.get("forward_url") == LOGIC_URL:
            found["COMET_FORWARD_URL"] = logic_url
        if own_redis and service.settings.get("advertise_address") == "":
            found["COMET_ADVERTISE_ADDRESS"] = service.called("grpc_port")
        if service.settings.get("comet_addrs") == COMET_ADDRS:
            found["JOB_COMET_ADDRS"] = grpc
        return found

    return [replace(service, own={**service.own, **told(service)}) for service in services]
