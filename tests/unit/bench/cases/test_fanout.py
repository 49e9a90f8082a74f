"""Rows, remarks and targets of measured fan-outs."""

from dataclasses import replace

import pytest

from bench.cases import fanout
from bench.cases.fan import Fan, FanShape
from bench.cases.server_under_test import BARE, COMET, Taken
from bench.measures import Spread

# 10 flushes of one message to 1,000 clients, half a second of 1 s.
AGES_MS = [k / 10 for k in range(1001)]
FINE = Taken(0.1, 0.2, 0.0, 1.0, 10, 10_000, 10_000, 10_000, 2_000_000, 0, {}, AGES_MS, "")
SHAPE = FanShape(1000, 1, 1)


def fan(name: str = COMET, *server_s: float, shape: FanShape = SHAPE, like: Taken = FINE) -> Fan:
    """Return what was measured, a repetition for each CPU time."""
    return Fan(shape, name, own_pace=False, taken=[replace(like, server_s=one) for one in server_s])


def test_a_row_has_the_cost_its_ratio_and_its_latency() -> None:
    """The ratio is taken repetition by repetition, so that a drifting machine cancels out."""
    comet, bare = fanout.rows([fan(COMET, 0.1, 0.2, 0.4), fan(BARE, 0.1, 0.1, 0.4)])
    row = dict(zip(fanout.COLUMNS, comet, strict=True))
    assert row["CPU us per delivery"] == Spread(20.0, 10.0, 40.0)
    assert row["x bare"] == Spread(1.0, 1.0, 2.0)
    assert (row["Deliveries/s"], row["Bytes a message"], row["Remarks"]) == (10_000, 200, "")
    assert row["p99, ms"] == Spread(99.0, 99.0, 99.0)
    assert dict(zip(fanout.COLUMNS, bare, strict=True))["x bare"] is None


@pytest.mark.parametrize(
    ("taken", "remark"),
    [
        (replace(FINE, load_s=0.91), "the load was the bottleneck"),
        (replace(FINE, messages=9_999), "1 of 10,000 deliveries missing"),
        (replace(FINE, refused={"overloaded": 2}), "2 sends refused, the first with** `overloaded`"),
        (replace(FINE, gone=2), "2 clients cut off"),
        (replace(FINE, others_s=0.5), "other programs used 25% of both cores"),
        (replace(FINE, reads=5_000), "2.0 flushes joined to a read"),
    ],
)
def test_what_speaks_against_a_row_is_said(taken: Taken, remark: str) -> None:
    """Each flaw by itself."""
    (found,) = fanout.remarks(fan(COMET, 0.1, like=taken))
    assert remark in found


def test_targets_are_of_1000_clients_against_the_bare_write() -> None:
    """Of no other shape; a doubt about either side is a doubt about the ratio."""
    small = FanShape(100, 1, 1)
    fans = [fan(COMET, 0.12), fan(BARE, 0.1, like=replace(FINE, reads=5_000)), fan(COMET, 0.1, shape=small)]
    (found,) = fanout.measured([*fans, fan(BARE, 0.1, shape=small)])
    assert found.key == "fanout_1"
    assert found.value == pytest.approx(1.2)
    assert found.doubt == "2.0 flushes joined to a read"
