"""The benchmarks that load the whole pipeline, each run very small from the command line on real servers."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from testbed.kafka_server import KafkaServer
from tests.integration.bench.pages import rows_of, value

SMALL = ["--seconds", "0.4", "--repeat", "1"]
TIMEOUT_S = 120.0


async def bench(*arguments: str, redis_url: str, kafka: KafkaServer, out: Path) -> str:
    """Run `python -m bench` on these servers and return the page that it wrote."""
    settings = [part for name, value in kafka.settings.items() for part in ("--set", f"{name}={value}")]
    servers = ["--redis", redis_url, "--kafka", kafka.brokers, "--out", str(out)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CHAT_", "COMET_"))}
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", *arguments, *SMALL, *servers, *settings),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            said, _ = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
    assert running.returncode == 0, said.decode()
    return (out / f"{arguments[0]}.md").read_text()


@pytest.mark.parametrize("part", ["latency", "pushes"])
async def test_latency_of_both_paths(part: str, redis_url: str, kafka: KafkaServer, tmp_path: Path) -> None:
    """A row for each rate with figures of the path and of its baseline, and a picture."""
    rows = rows_of(await bench(part, "--rates", "50", redis_url=redis_url, kafka=kafka, out=tmp_path))
    assert [row["msg/s"] for row in rows] == ["50.0"]
    for row in rows:
        assert all(value(cell) > 0 for name, cell in row.items() if name.endswith(" ms") and "late" not in name)
        assert value(row["comet cores"]) > 0
        assert row["kafka cores"] == "-"  # not ours
    assert (tmp_path / f"{part}.svg").exists()


async def test_ingest_accounts_for_every_message(redis_url: str, kafka: KafkaServer, tmp_path: Path) -> None:
    """The ledger finds all of what was acked, and the sustained rate is the last row."""
    small = ["--rate", "100", "--most", "100", "--rooms", "3", "--members", "4"]
    page = await bench("ingest", *small, redis_url=redis_url, kafka=kafka, out=tmp_path)
    sustained = rows_of(page)[-1]
    assert "is in the history and in Kafka" in page
    assert value(sustained["msg/s offered"]) > 0
    assert value(sustained["comet us/msg"]) > 0
    assert "## Targets" not in page  # of another shape than the target's


async def test_cost_against_size(redis_url: str, kafka: KafkaServer, tmp_path: Path) -> None:
    """Each size has its row, and as many deliveries a message as the room has members."""
    sizes = ["--members", "2,4", "--rooms", "1", "--nodes", "1", "--content-bytes", "200", "--rate", "50"]
    rows = rows_of(await bench("size", *sizes, redis_url=redis_url, kafka=kafka, out=tmp_path))
    assert [(row["what changes"], row["to"]) for row in rows] == [
        ("members", "2"),
        ("members", "4"),
        ("rooms", "1"),
        ("nodes", "1"),
        ("content bytes", "200"),
    ]


async def test_capacity(redis_url: str, kafka: KafkaServer, tmp_path: Path) -> None:
    """The model's constants, its check, and what so many users would take."""
    small = ["--rate", "50", "--rooms", "2", "--idle", "50"]
    page = await bench("capacity", *small, redis_url=redis_url, kafka=kafka, out=tmp_path)
    assert [row["service"] for row in rows_of(page)] == ["comet", "logic", "job", "redis", "kafka", "all"]
    assert "1,000,000 users" in page
