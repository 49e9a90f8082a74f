"""The benchmarks that measure Comet alone, each run very small on a real Redis. The test counts their figures again."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from bench.cases.server_under_test import BARE, COMET, server_under_test
from bench.load import wire
from bench.load.connect import ClientPlan
from bench.measures import Cores
from testbed.bed import TestBed
from testbed.program import program_environ
from tests.integration.bench.pages import rows_of, value

TIMEOUT_S = 120.0
CLIENTS = 20


def bench(part: str, *arguments: str, redis_url: str, out: Path) -> list[dict[str, str]]:
    """Run `python -m bench` and return the rows of its page, by column."""
    argv = [sys.executable, "-m", "bench", part, *arguments, "--repeat", "1", "--seconds", "0.2"]
    done = subprocess.run(
        [*argv, "--redis", redis_url, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        env=program_environ({}),
    )
    assert done.returncode == 0, done.stderr
    assert f"({part}.md)" in (out / "README.md").read_text()
    return rows_of((out / f"{part}.md").read_text())


@pytest.mark.parametrize("name", [COMET, BARE])
async def test_a_load_counts_each_delivery(name: str, redis_url: str) -> None:
    """The clients received each message once for each client of its room, by Redis's own count for Comet."""
    burst = 3
    async with TestBed(redis=redis_url) as bed, server_under_test(bed, Cores.here(), name) as one:
        await one.connect(ClientPlan(CLIENTS, "counted", 2, [one.port], timed=CLIENTS, acks=name == COMET))
        await one.replay(_flush(burst))
        taken = await one.load(0.195, 0.01, burst)
    assert taken.sent == 20
    assert taken.messages == taken.expected == taken.sent * burst * CLIENTS // 2
    assert taken.gone == 0
    assert min(taken.ages_ms) > 0
    assert taken.server_s > 0
    if name == COMET:
        assert _stored(redis_url, "counted") == taken.sent * burst


async def test_clients_answer_pings(redis_url: str) -> None:
    """Comet hangs up on who leaves two unanswered: in the load's time that would be all of them."""
    async with (
        TestBed(redis=redis_url, settings={"COMET_PING_SECONDS": "0.3"}) as bed,
        server_under_test(bed, Cores.here(), COMET) as one,
    ):
        await one.connect(ClientPlan(CLIENTS, "pinged", 1, [one.port]))
        taken = await one.load(2.0, 0.25, 1)
    assert taken.gone == 0
    assert taken.messages == taken.expected


def test_fanout(redis_url: str, tmp_path: Path) -> None:
    """A row for each server and number of messages a flush, each with its cost and latency; all of it was delivered."""
    rows = bench("fanout", "--clients", "20", "--burst", "1", "--burst", "4", redis_url=redis_url, out=tmp_path)
    assert [row["Messages a flush"] for row in rows] == ["1", "1", "1", "4", "4", "4"]
    for row in rows:
        assert value(row["CPU us per delivery"]) > 0
        assert value(row["p99, ms"]) >= value(row["p50, ms"]) > 0
        assert (row["x bare"] == "-") == (row["Server"] == BARE)
        assert "missing" not in row["Remarks"]
        assert value(row["Bytes a message"]) > 100
    assert (tmp_path / "fanout-cost.svg").exists()


def test_rooms(redis_url: str, tmp_path: Path) -> None:
    """Each room gets its own messages: as many deliveries as clients in one."""
    rows = bench("rooms", "--clients", "20", "--rooms", "4", "--burst", "2", redis_url=redis_url, out=tmp_path)
    assert [row["Rooms"] for row in rows] == ["4", "4", "4"]
    assert not [row["Remarks"] for row in rows if "missing" in row["Remarks"]]


def test_connections(redis_url: str, tmp_path: Path) -> None:
    """Memory of each server's connections, and Comet's clients are told what they missed."""
    rows = bench("connections", "--clients", "20", "--rooms", "4", redis_url=redis_url, out=tmp_path)
    assert [row["Server"] for row in rows].count(COMET) == 4
    for row in rows:
        assert row["Clients"] == "20"
        assert value(row["Connections tried"]) >= 20
        assert value(row["CPU us each"]) > 0
        assert row["Remarks"] == ""
        assert (row["KiB each"] == "-") == row["What"].startswith("all back")


def _flush(burst: int) -> str:
    """Return a flush as Comet's are."""
    messages = [{"id": f"{k}", "content": f"{wire.MARK.decode()}{0:0{wire.DIGITS}}"} for k in range(burst)]
    text = json.dumps({"type": "serverMessages", "payload": {"messages": messages}}, separators=(",", ":"))
    return base64.b64encode(wire.frame(text.encode())).decode()


def _stored(redis_url: str, prefix: str) -> int:
    """Return how many messages the streams of the rooms hold."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        return sum(client.xlen(key) for key in client.scan_iter(f"chat:*:room:{prefix}_*:stream"))
