"""Fixtures of Logic's integration tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from testbed.kafka_server import KafkaServer
from tests.support.kafka_reader import Topic
from tests.support.logic_node import Logic, running, settings_of


@pytest.fixture
async def logic(kafka: KafkaServer, topic: str, redis_url: str) -> AsyncIterator[Logic]:
    """A Logic on the worker's servers and a topic of its own."""
    async with running(settings_of(kafka, topic, redis_url)) as it:
        yield it


@pytest.fixture
async def records(kafka: KafkaServer, topic: str) -> AsyncIterator[Topic]:
    """What is in the topic."""
    async with Topic(kafka.brokers, topic) as it:
        yield it


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what the embedded broker can't do: it forgets when it stops and refuses no size."""
    only_apache = collection_path.name == "test_apache_kafka.py" and config.getoption("--kafka") != "apache"
    return True if only_apache else None
