"""Connections to Redis: one way to make them, with the timeouts that every await on Redis has.

But for `read_answers`, whose callers have their own: one waits for answers that are due, the other for what may come.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common import logs
from common.config import REDIS_URL_FORM
from common.errors import SettingError, StartupError, reason_of
from common.health import Health
from common.masking import mask

log = logs.get()

RedisClient: TypeAlias = Redis  # for modules that pass a client on without knowing redis

TIMEOUT_S: Final = 2.0
BAD_PARAMETER: Final = "a parameter behind the ? of the URL is unknown, or its value is illegal: remove it"
READ_BYTES: Final = 65_536
DRAINED_BYTES: Final = 65_536  # unsent; less is not waited for
# In one pool; who comes when all are busy waits for one, at most as long as for an answer.
CONNECTIONS: Final = 32
# How Redis is run so that an ack is kept whatever dies.
PROMISED: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
# What a command raises when Redis is away rather than unwilling; the command may or may not have been carried out.
AWAY: Final = (RedisConnectionError, RedisTimeoutError, TimeoutError, OSError)
# Everything that a command raises when it was not carried out, whether Redis was away or unwilling.
REDIS_FAULTS: Final = (*AWAY, RedisError)


def connect(url: str, *, timeout_s: float = TIMEOUT_S, retries: int = 1) -> Redis:
    """Return a client (no I/O yet). `retries` covers a pooled connection that died unseen; who retries itself gives 0.

    RESP2 throughout: it is what Redis 6.2 speaks to everyone and what the parsers do fastest. Raises SettingError.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout_s,
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), retries),
            health_check_interval=0,
        )
        pool.connection_class = type("RedisConnection", (RedisConnection, pool.connection_class), {})
        pool.connection_class(**pool.connection_kwargs)  # redis-py looks at the URL's parameters only here
    except ValueError:  # whose text may show a part of the password
        raise SettingError(f"bad setting redis_url (CHAT_REDIS_URL): {REDIS_URL_FORM}") from None
    except (TypeError, AttributeError, RedisError):  # likewise
        raise SettingError(f"bad setting redis_url (CHAT_REDIS_URL): {BAD_PARAMETER}") from None
    return Redis.from_pool(pool)


async def connection_of(redis: Redis) -> "RedisConnection":
    """Return a connection of its own beside the pool, connected; its user disconnects it. Raises REDIS_FAULTS."""
    connection: RedisConnection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # untyped in the library
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await connection.connect()  # type: ignore[no-untyped-call]  # likewise
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


class RedisConnection(AbstractConnection):
    """A connection that sends without a task of its own, can be cancelled and lost meanwhile, and is read in bulk.

    redis-py sends with asyncio.wait_for. In Python 3.11 that costs a task and three turns of the loop, which under load
    is longer than Redis takes to answer; and it forgets a cancellation that comes just as it is done, so that a loop of
    commands would go on forever. And where a connection is reset before the first word is written to it, as while Redis
    starts again, uvloop raises RuntimeError; where the task that reads from it found it lost meanwhile, its writer is
    None. Nobody would expect either.
    """

    _answers: hiredis.Reader | None = None  # of `read_answers`, for the life of one connection

    @property
    def lost(self) -> bool:
        """Whether it ended while nobody used it, as when Redis was started again meanwhile."""
        reader = self._reader
        return reader is None or reader.at_eof() or reader.exception() is not None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: ANN401, ARG002, FBT001, FBT002 - redis-py's signature; `connect` asks for no health checks
        """Send what redis-py packed, connected or not yet. Raises REDIS_FAULTS."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        writer = self._writer
        if writer is None:
            raise RedisConnectionError("the connection was lost before it was written to")
        try:
            writer.write(command if isinstance(command, bytes) else b"".join(command))
        except RuntimeError as e:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"the connection was lost before it was written to: {e}") from e
        if writer.transport.get_write_buffer_size() > DRAINED_BYTES:
            await self._drain(writer)

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self.socket_timeout or None):
                await writer.drain()
        except TimeoutError as e:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Redis does not read what it is sent") from e
        except OSError as e:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"the connection was lost while it was written to: {e}") from e
        except BaseException:
            await self.disconnect(nowait=True)  # what was sent by half is of no use to the next command
            raise
        if self._writer is not writer:
            raise RedisConnectionError("the connection was lost while it was written to")

    async def write_commands(self, commands: Iterable[tuple[Any, ...]]) -> None:
        """Send commands in one write."""
        await self.send_packed_command(b"".join(map(hiredis.pack_command, commands)))

    async def read_answers(self, least: int = 1) -> list[Any]:
        """Return the answers that came, so many at least; refusals are among them, as exceptions. Has no timeout.

        Whoever cancels it has to disconnect, or what comes later is taken for the next answers. Read one by one, as
        redis-py does it, an answer costs 15 us; here it costs 1. Raises RedisConnectionError.
        """
        parser = self._answers  # which another task may take away meanwhile: it disconnects when it can't write
        if parser is None:
            parser = hiredis.Reader(protocolError=InvalidResponse, replyError=self._parser.parse_error)
            self._answers = parser
        answers: list[Any] = []
        while len(answers) < least:
            if self._reader is None or not (came := await self._reader.read(READ_BYTES)):
                raise RedisConnectionError("Redis closed the connection")
            parser.feed(came)
            while (answer := parser.gets()) is not False:
                if isinstance(answer, RedisConnectionError):  # such as that Redis is still loading
                    raise answer
                answers.append(answer)
        return answers

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - redis-py's signature
        """Hang up; what was half read is forgotten with it."""
        self._answers = None
        await super().disconnect(*args, **kwargs)


async def check(redis: Redis, url: str) -> None:
    """Raise StartupError with one clear line if Redis does not answer, refuses us or is too old; `url` is masked."""
    shown = mask(url)
    try:
        server = await redis.info("server")
    except REDIS_FAULTS as e:
        raise StartupError(
            f"can't use Redis at {shown} ({reason_of(e)}): start it, or change the setting redis_url"
        ) from e
    version = str(server["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < (6, 2):
        raise StartupError(f"Redis at {shown} is version {version}, but 6.2 or newer is needed")


@dataclass(slots=True, frozen=True)
class RedisState:
    """How a Redis is run: its memory, and by setting what is weaker than promised."""

    memory_bytes: int
    limit_bytes: int  # 0: none
    weak: dict[str, str]


async def look_at(redis: Redis, health: Health) -> RedisState:
    """Say in the log and in /readyz where this Redis may lose what was acked, or has no bound that refuses writes.

    Whoever looks again takes back what was mended meanwhile. Raises what redis raises.
    """
    pipeline = redis.pipeline(transaction=False)
    pipeline.info("memory")
    pipeline.config_get("append*")
    memory, config = await pipeline.execute(raise_on_error=False)
    if isinstance(memory, BaseException):
        raise memory
    found = {"maxmemory-policy": memory["maxmemory_policy"]}
    found |= {"config": f"unreadable ({config})"} if isinstance(config, RedisError) else config  # hosted ones hide it
    state = RedisState(memory["used_memory"], memory["maxmemory"], _weaknesses(found, memory["maxmemory"]))
    _warn(state.weak, health)
    return state


def _weaknesses(found: Mapping[str, str], limit_bytes: int) -> dict[str, str]:
    promised = {**PROMISED, "config": "readable"}
    weak = {
        f"redis_{name}": f"{name} is {value}, promised is {promised[name]}"
        for name, value in found.items()
        if value != promised.get(name, value)
    }
    if not limit_bytes:
        weak["redis_maxmemory"] = "maxmemory is 0: Redis grows until the machine is full"
    return weak


def _warn(weak: Mapping[str, str], health: Health) -> None:
    told = {name: text for name, text in health.warnings.items() if name.startswith("redis_")}
    if told == weak:
        return
    for name in told:
        del health.warnings[name]
    health.warnings.update(weak)
    if weak:
        log.warning("Redis is not run as promised: acked messages may be lost with it", **weak)
    else:
        log.info("Redis is run as promised again")
