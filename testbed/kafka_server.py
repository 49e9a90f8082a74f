"""A real Kafka: Apache Kafka for every measurement, or the embedded broker for most tests."""

import asyncio
import secrets
import shutil
import subprocess
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from chatroom import config, probes
from chatroom.up import embedded
from chatroom.up.guard import Guard
from testbed.apache_kafka import apache_jars
from testbed.ports import free_port
from testbed.program import Program

T = TypeVar("T")
PARTITIONS: Final = 4
# The quick compiler (C1): the other one takes a fifth of two cores for minutes, beside the measurement.
SMALL_JVM: Final = ("-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
MEASURED_JVM: Final = ("-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-XX:TieredStopAtLevel=1")
_asker: Final = ThreadPoolExecutor(1, "ask-kafka")


class KafkaServer(Program):
    """The common part of both brokers."""

    # CHAT_KAFKA_* values that suit the broker.
    settings: ClassVar[Mapping[str, str]] = {}
    durable = False

    def __init__(self, guard: Guard, name: str, directory: Path) -> None:
        super().__init__(guard, name, directory)
        self.port = free_port()
        self.brokers = f"127.0.0.1:{self.port}"

    def answers(self) -> bool:
        """Bootstrap from it."""
        try:
            run_aside(probes.ask_kafka(self.brokers))
        except probes.NoAnswer:
            return False
        return True

    def create_topic(self, topic: str | None = None, partitions: int = PARTITIONS) -> str:
        """Create the topic, or one with a name of its own, and return its name."""
        topic = topic or f"t-{secrets.token_hex(6)}"
        run_aside(probes.ensure_topic(self.brokers, topic, partitions))
        return topic


class EmbeddedKafka(KafkaServer):
    """The broker of `chatroom up`. It loses all records when it stops."""

    settings = embedded.KAFKA_SETTINGS

    def __init__(self, guard: Guard, directory: Path) -> None:
        super().__init__(guard, "kafka", directory)

    def argv(self) -> list[str]:
        """As embedded."""
        return embedded.kafka_argv(embedded.kafka_program(), self.port)

    def environ(self) -> Mapping[str, str] | None:
        """As embedded."""
        return config.server_environ()


class ApacheKafka(KafkaServer):
    """One node, broker and controller in one (KRaft). Its log on disk outlives stop(), start() and kill()."""

    # Groups form and take over as fast as the broker allows.
    settings: ClassVar[Mapping[str, str]] = {
        "CHAT_KAFKA_SESSION_TIMEOUT_MS": "3000",
        "CHAT_KAFKA_HEARTBEAT_INTERVAL_MS": "500",
    }
    durable = True

    def __init__(
        self, guard: Guard, directory: Path, advertised_port: int | None = None, jvm: Sequence[str] = SMALL_JVM
    ) -> None:
        super().__init__(guard, "kafka", directory)
        self._jvm = jvm
        # The port that clients use after they bootstrapped, such as a proxy's.
        self.advertised_port = advertised_port or self.port
        self._controller_port = free_port()
        self._java = ["java", "-cp", f"{apache_jars()}/*"]

    def argv(self) -> list[str]:
        """Format the log directory the first time."""
        properties = self.directory / "server.properties"
        if not properties.exists():
            properties.write_text(self._properties())
            self._format(properties)
        log_level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        java = shutil.which("java") or "java"
        return [java, *self._jvm, log_level, *self._java[1:], "kafka.Kafka", str(properties)]

    def _format(self, properties: Path) -> None:
        tool = ["kafka.tools.StorageTool", "format", "--config", str(properties)]
        cluster = ["--cluster-id", secrets.token_urlsafe(16).replace("-", "a").replace("_", "b")[:22]]
        with (self.directory / "format.log").open("wb") as out:
            subprocess.run([*self._java, *tool, *cluster], check=True, stdout=out, stderr=out, timeout=60)

    def _properties(self) -> str:
        return "\n".join(
            f"{key}={value}"
            for key, value in {
                "process.roles": "broker,controller",
                "node.id": 1,
                "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
                "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.advertised_port}",
                "controller.listener.names": "CONTROLLER",
                "log.dirs": self.directory / "log",
                "num.partitions": PARTITIONS,
                "offsets.topic.replication.factor": 1,
                "offsets.topic.num.partitions": 1,
                "transaction.state.log.replication.factor": 1,
                "transaction.state.log.min.isr": 1,
                "transaction.state.log.num.partitions": 1,
                "share.coordinator.state.topic.replication.factor": 1,
                "share.coordinator.state.topic.min.isr": 1,
                "group.initial.rebalance.delay.ms": 100,
                "group.min.session.timeout.ms": 1000,
                "num.network.threads": 2,
                "num.io.threads": 2,
                "log.cleaner.dedupe.buffer.size": 4 << 20,
                # After a SIGKILL the broker comes back only when its former life's session is over.
                "broker.session.timeout.ms": 3000,
                "broker.heartbeat.interval.ms": 500,
            }.items()
        )


def run_aside(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own in another thread: this thread may run a loop."""
    return _asker.submit(asyncio.run, work).result()
