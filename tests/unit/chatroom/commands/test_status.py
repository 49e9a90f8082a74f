"""`chatroom status` as people and scripts read it, whatever is away."""

import json

from chatroom.commands.status import to_json, to_table
from chatroom.commands.survey import Kept, ServiceReport, Survey
from common.registry import Node

WELL = ServiceReport("ok", {}, {})
NODES = [Node("aaaaaaaabbbb", "127.0.0.1:50051", connections=3, rooms=2), Node("ccccccccdddd", "127.0.0.1:50052", 4, 1)]
KEPT = Kept(NODES, rooms=7, waiting=2, oldest_s=65.0, dead=1)
GOOD = Survey(
    {"comet": WELL, "logic": WELL, "job": WELL},
    KEPT,
    {"aaaaaaaabbbb": "ok", "ccccccccdddd": "ok"},
    {0: 5, 1: 0},
)
BAD = Survey(
    {"comet": ServiceReport("unavailable", {"redis": "no answer"}, {"redis_maxmemory": "maxmemory is 0"})},
    "Connection refused",
    {},
    "no broker",
)


def test_the_table_shows_every_number() -> None:
    """Nodes, sessions, rooms, outbox, lag and health."""
    assert to_table(GOOD) == (
        "service  health\ncomet    ok\nlogic    ok\njob      ok\n\n"
        "node      gRPC             sessions  rooms  health\n"
        "aaaaaaaa  127.0.0.1:50051  3         2      ok\n"
        "cccccccc  127.0.0.1:50052  4         1      ok\n\n"
        "sessions    7\n"
        "rooms       7 with a history\n"
        "outbox      2 waiting, the oldest for 1 min 5 s; dead letters: 1\n\n"
        "Kafka lag   5 records (by partition 0: 5, 1: 0)"
    )


def test_the_table_says_what_is_away_and_why() -> None:
    """And warnings beside the reasons."""
    assert to_table(BAD) == (
        "service  health\ncomet    unavailable; redis: no answer; warning: maxmemory is 0\n\n"
        "Redis       no answer: Connection refused\n\nKafka lag   no answer: no broker"
    )


def test_the_json_has_the_same() -> None:
    """With numbers as numbers."""
    shown = json.loads(to_json(GOOD))
    assert shown["healthy"] is True
    assert [node["health"] for node in shown["nodes"]] == ["ok", "ok"]
    assert (shown["sessions"], shown["rooms"]) == (7, 7)
    assert shown["outbox"] == {"waiting": 2, "oldestSeconds": 65.0, "deadLetters": 1}
    assert shown["lag"] == {"total": 5, "partitions": {"0": 5, "1": 0}}
    away = json.loads(to_json(BAD))
    assert (away["healthy"], away["redis"], away["kafka"]) == (False, "Connection refused", "no broker")


def test_a_node_that_does_not_answer_is_not_well() -> None:
    """Though its life in Redis has not run out."""
    assert GOOD.healthy
    assert not Survey(GOOD.services, KEPT, {**GOOD.nodes, "ccccccccdddd": "no answer"}, GOOD.lag).healthy
    assert not BAD.healthy


def test_a_service_that_only_warns_is_well() -> None:
    """It serves; the warning is shown."""
    warned = ServiceReport("degraded", {}, {"redis_maxmemory": "maxmemory is 0"})
    survey = Survey({**GOOD.services, "comet": warned}, GOOD.kept, GOOD.nodes, GOOD.lag)
    assert survey.healthy
    assert "comet    degraded; warning: maxmemory is 0" in to_table(survey)
