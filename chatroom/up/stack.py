"""The stack of `chatroom up`, brought up in order: Redis, Kafka with its topic, then all services at once.

Neighbours: `plan.py` says which services, `embedded.py` how the servers start, `supervisor.py` keeps all of it running.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from chatroom import probes
from chatroom.config import on_terminal, server_environ, service_environ, use_redis
from chatroom.up import embedded, folder, plan, prometheus
from chatroom.up.banner import Backend, banner
from chatroom.up.child import Child, Spec
from chatroom.up.output import UP, Console
from chatroom.up.plan import Plan, ServicePlan
from chatroom.up.ports import LOOPBACK, Claims
from chatroom.up.supervisor import Supervisor
from common.errors import StartupError
from common.lifecycle import leaves
from common.masking import mask

READY_TIMEOUT_S = 60.0
SERVER_TIMEOUT_S = 30.0
_SHOW_EVERY_S = 3.0
_DRAIN_MARGIN_S = 5.0
_PORT_TRIES = 5
_STAGES = {"comet": 0, "logic": 1, "job": 2, "kafka": 3, "redis": 4, "prometheus": 5}
_Ready = Callable[[int], Awaitable[None]]


class LocalStack:
    """What runs, or is about to. `bring_up()` returns when all of it is ready."""

    def __init__(self, chosen: Plan, claims: Claims, supervisor: Supervisor, console: Console) -> None:
        self._plan = chosen
        self._claims = claims
        self._supervisor = supervisor
        self._console = console
        self._environ = service_environ(chosen.options)
        if on_terminal() and chosen.setting("log_format") == "auto":
            self._environ["CHAT_LOG_FORMAT"] = "pretty"  # a service sees only our pipe
        self._redis = Backend(mask(chosen.redis_url), "yours")
        self._kafka = Backend(chosen.setting("kafka_brokers"), "yours")

    async def bring_up(self) -> None:
        """Start everything, wait for it and say where it is. Raises StartupError saying what hinders it."""
        if not self._plan.own_redis:
            await self._reach_redis()
        if not self._plan.own_kafka:
            await self._reach_kafka()
        if self._plan.own_redis:
            await self._embed_redis()
        if self._plan.own_kafka:
            await self._embed_kafka()
        children = [self._supervisor.start(self._service_spec(service)) for service in self._plan.services]
        await self._in_time(children, READY_TIMEOUT_S)
        if self._plan.keeps_files:
            redis = self._environ["CHAT_REDIS_URL"] if self._plan.own_redis else self._plan.redis_url
            folder.tell(self._plan.options.directory, redis=redis, kafka=self._kafka.address)
        watching = await self._watch() if self._plan.options.prometheus else None
        self._console.block(banner(self._plan.services, self._redis, self._kafka, watching))

    async def _reach_redis(self) -> None:
        try:
            await probes.ask_redis(self._plan.redis_url)
        except probes.NoAnswer as e:
            raise StartupError(f"can't reach Redis at {self._redis.address} ({e}): check --redis") from None

    async def _reach_kafka(self) -> None:
        try:
            await self._ensure_topic(self._kafka.address)
        except probes.NoAnswer as e:
            raise StartupError(f"can't reach Kafka at {self._kafka.address} ({e}): check --kafka") from None

    async def _ensure_topic(self, brokers: str, cluster: str | None = None) -> None:
        topic, partitions = self._plan.setting("kafka_topic"), int(self._plan.setting("partitions"))
        await probes.ensure_topic(brokers, topic, partitions, cluster)

    async def _embed_redis(self) -> None:
        program, directory = embedded.redis_program(), self._plan.options.directory / "redis"
        _make(directory)
        level = "notice" if self._plan.options.log_level == "debug" else "warning"

        def spec(port: int) -> Spec:
            ask = partial(probes.ask_redis, f"redis://{LOOPBACK}:{port}/0")
            argv = embedded.redis_argv(program, port, directory, level)
            return _server("redis", argv, ask, hint=f"its files are in {directory}; {folder.CHANGE}")

        port = await self._embed(spec, embedded.REDIS_PORT)
        use_redis(self._environ, f"redis://{LOOPBACK}:{port}/0")
        self._redis = Backend(f"{LOOPBACK}:{port}", f"embedded, its files are in {directory}")

    async def _embed_kafka(self) -> None:
        program, cluster = embedded.kafka_program(), f"chatroom-{uuid.uuid4().hex}"

        def spec(port: int) -> Spec:
            async def ask(_pid: int) -> None:
                # Asking for the topic is also what makes it anew after each start: this broker forgets.
                await self._ensure_topic(f"{LOOPBACK}:{port}", cluster)

            return _server("kafka", embedded.kafka_argv(program, port, cluster), ask)

        brokers = f"{LOOPBACK}:{await self._embed(spec, embedded.KAFKA_PORT)}"
        self._environ |= {"CHAT_KAFKA_BROKERS": brokers, **embedded.KAFKA_SETTINGS}
        self._kafka = Backend(brokers, "embedded, for development: it forgets everything when it stops")

    async def _watch(self) -> Backend:
        """Start Prometheus; its configuration is written anew each time, what it has stored stays."""
        program, directory = prometheus.program(), self._plan.options.directory / "prometheus"
        _make(directory)
        (directory / "prometheus.yml").write_text(prometheus.configuration(self._plan.services), encoding="utf-8")

        def spec(port: int) -> Spec:
            async def ask(_pid: int) -> None:
                await probes.ask_ready(f"http://{LOOPBACK}:{port}/-/ready")

            argv = prometheus.argv(program, port, directory)
            return _server("prometheus", argv, ask, hint=f"its files are in {directory}; {folder.CHANGE}")

        port = await self._embed(spec, prometheus.PORT)
        return Backend(f"http://{LOOPBACK}:{port}", f"its files are in {directory}")

    async def _embed(self, spec: Callable[[int], Spec], usual: int) -> int:
        """Start an embedded server on its usual port or a free one, again if somebody was faster; return the port."""
        for tries_left in reversed(range(_PORT_TRIES)):
            port = self._claims.usual_or_free(usual)
            child = self._supervisor.start(spec(port))
            try:
                await self._in_time([child], SERVER_TIMEOUT_S)
            except StartupError:
                if not (tries_left and child.words.speak_of("in use")):
                    raise
                await self._supervisor.forget(child)
            else:
                return port
        raise AssertionError  # the last try returns or raises

    def _service_spec(self, service: ServicePlan) -> Spec:
        return Spec(
            name=service.name,
            argv=plan.argv(service.module, self._plan.options),
            environ={**self._environ, **service.own},
            ready=lambda _pid: probes.ask_ready(f"http://{service.called(service.health_port)}/readyz"),
            drain_s=float(service.settings["drain_seconds"]) + _DRAIN_MARGIN_S,
            stage=_STAGES[service.module],
        )

    async def _in_time(self, children: Sequence[Child], timeout_s: float) -> None:
        """Wait until they are ready. Raises StartupError for the first that never will be, or for those too slow."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._until_ready(children)
        except TimeoutError:
            raise StartupError(f"not ready after {timeout_s:.0f} s: {_waiting_for(children)}") from None

    async def _until_ready(self, children: Sequence[Child]) -> None:
        faults: list[StartupError] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                showing = tasks.create_task(self._show(children))
                async with asyncio.TaskGroup() as waits:
                    for child in children:
                        waits.create_task(child.until_ready())
                showing.cancel()
        except* StartupError as group:
            faults = leaves(group)
        if faults:
            raise faults[0]

    async def _show(self, children: Sequence[Child]) -> None:
        while True:
            await asyncio.sleep(_SHOW_EVERY_S)
            self._console.line(UP, f"waiting for {_waiting_for(children)}")


def _server(name: str, argv: Sequence[str], ready: _Ready, hint: str = "") -> Spec:
    return Spec(name, argv, server_environ(), ready, stage=_STAGES[name], hint=hint, quiet_start=True)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # what people wrote is in there
    except OSError as e:
        raise StartupError(f"can't write in {directory} ({e.strerror}): {folder.CHANGE}") from None


def _waiting_for(children: Sequence[Child]) -> str:
    return ", ".join(f"{child.spec.name} ({child.why_not_ready})" for child in children if not child.ready.is_set())
