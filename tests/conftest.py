"""Fixtures that every test may use: real servers on free ports, dead with pytest whatever ends it.

`--kafka apache` runs the suite against Apache Kafka instead of the embedded broker. In CI (`CI` set) a skipped test is
a failure: what can't run there is not shown to work.
"""

import contextlib
import os
import secrets
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import hypothesis
import pytest

from chatroom.up.guard import Guard
from testbed import compose
from testbed.apache_kafka import MissingProgram
from testbed.chatroom_up import ChatroomUp
from testbed.kafka_server import ApacheKafka, EmbeddedKafka, KafkaServer
from testbed.redis_server import RedisServer
from tests.support.time_limits import TimeLimits

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)
_CI = bool(os.environ.get("CI"))

# A runner in the background ignores SIGINT, and so would every program that a test starts and then interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says only how busy the machine is.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --kafka and --screenshots."""
    parser.addoption(
        "--kafka", choices=("embedded", "apache"), default="embedded", help="which broker tests run against"
    )
    parser.addoption("--screenshots", type=Path, metavar="DIR", help="where tests put what the page looks like")


def pytest_configure(config: pytest.Config) -> None:
    """Limit the time of each test."""
    config.pluginmanager.register(TimeLimits())


def pytest_xdist_auto_num_workers() -> int:
    """Run twice as many workers as there are cores (`-n auto`): what starts real servers mostly waits."""
    return 2 * (os.cpu_count() or 1)


def pytest_report_header() -> str:
    """Say whether docker-compose.yml is tried here."""
    return compose.report()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure in CI."""
    report = yield
    return _no_skip(report) if _CI and not hasattr(report, "wasxfail") else report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skipped module into a failure in CI."""
    report = yield
    return _no_skip(report) if _CI else report


def _no_skip(report: R) -> R:
    if report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure in CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    """The process group of all that tests start."""
    with Guard() as it:
        yield it


@pytest.fixture(scope="session")
def redis_server(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The worker's Redis, as promised. Whoever breaks it takes `own_redis` instead."""
    with RedisServer(guard, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The worker's Redis, empty."""
    redis_server.clear()
    return redis_server.url


@pytest.fixture
def own_redis(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for this test alone, to stop, start, kill and configure."""
    with RedisServer(guard, tmp_path_factory.mktemp("redis")) as server:
        yield server


def _kafka(guard: Guard, config: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> KafkaServer:
    kind = ApacheKafka if config.getoption("--kafka") == "apache" else EmbeddedKafka
    try:
        return kind(guard, tmp_path_factory.mktemp("kafka"))
    except MissingProgram as e:
        pytest.skip(str(e))


@pytest.fixture(scope="session")
def kafka(guard: Guard, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The worker's Kafka. Whoever breaks it takes `own_kafka` instead."""
    with _kafka(guard, pytestconfig, tmp_path_factory) as server:
        yield server


@pytest.fixture
def kafka_brokers(kafka: KafkaServer) -> str:
    """The worker's Kafka as bootstrap servers."""
    return kafka.brokers


@pytest.fixture
def own_kafka(
    guard: Guard, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaServer]:
    """A Kafka for this test alone, to stop, start and kill. The embedded one forgets its topics."""
    with _kafka(guard, pytestconfig, tmp_path_factory) as server:
        yield server


@pytest.fixture
def topic(kafka: KafkaServer) -> str:
    """A fresh topic with 4 partitions in the worker's Kafka."""
    return kafka.create_topic()


class StackMaker(Protocol):
    """What `make_stack` is: the arguments of ChatroomUp, started unless `start=False`."""

    def __call__(  # noqa: PLR0913 - the arguments of ChatroomUp
        self,
        *,
        comets: int = 1,
        redis: RedisServer | None = None,
        kafka: KafkaServer | None = None,
        environ: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        program: Sequence[str] = ...,
        cwd: Path | None = None,
        start: bool = True,
    ) -> ChatroomUp:
        """Return a stack."""


@contextlib.contextmanager
def _stacks(
    guard: Guard, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackMaker]:
    """Make stacks and kill them at the end. With `--kafka apache` they share the worker's Kafka, each with a topic."""
    with contextlib.ExitStack() as made:

        def make(*, start: bool = True, **chosen: Any) -> ChatroomUp:
            if chosen.get("kafka") is None and request.config.getoption("--kafka") == "apache":
                chosen["kafka"] = request.getfixturevalue("kafka")
            if chosen.get("kafka") is not None:
                name = f"s-{secrets.token_hex(6)}"
                own = {"CHAT_KAFKA_TOPIC": name, "JOB_CONSUMER_GROUP": name}
                chosen["environ"] = {**own, **(chosen.get("environ") or {})}
            stack = ChatroomUp(guard, tmp_path_factory.mktemp("stack") / "chatroom", **chosen)
            made.push(stack)
            return stack.start() if start else stack

        yield make


@pytest.fixture
def make_stack(
    guard: Guard, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackMaker]:
    """Make stacks for this test alone, such as `make_stack(comets=2)`."""
    with _stacks(guard, request, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def stack(
    guard: Guard, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ChatroomUp]:
    """The worker's plain stack of one Comet, for tests that don't break it; take rooms and users of your own."""
    with _stacks(guard, request, tmp_path_factory) as make:
        yield make()
