"""Rows, remarks and targets of measured fan-outs."""

from dataclasses import replace

import pytest

from bench.cases.fan import Fan, Shape
from bench.cases.server_under_test import BARE, COMET, Taken
from bench.load.fanout_clients import POINTS
from bench.report import fan_report
from bench.report.measures import Spread

# 10 flushes of one message to 1,000 clients, half a second of 1 s.
FINE = Taken(0.1, 0.2, 0.0, 1.0, 10, 10_000, 10_000, 10_000, 2_000_000, 0, [], [float(one) for one in POINTS], "")
SHAPE = Shape(1000, 1, 1)


def fan(name: str = COMET, *server_s: float, shape: Shape = SHAPE, like: Taken = FINE) -> Fan:
    """Return what was measured, a repetition for each CPU time."""
    return Fan(shape, name, own_pace=False, taken=[replace(like, server_s=one) for one in server_s])


def test_a_row_has_the_cost_its_ratio_and_its_latency() -> None:
    """The ratio is taken repetition by repetition, so that a drifting machine cancels out."""
    comet, bare = fan_report.rows([fan(COMET, 0.1, 0.2, 0.4), fan(BARE, 0.1, 0.1, 0.4)])
    row = dict(zip(fan_report.COLUMNS, comet, strict=True))
    assert row["CPU us per delivery"] == Spread(20.0, 10.0, 40.0)
    assert row["x bare"] == Spread(1.0, 1.0, 2.0)
    assert (row["Deliveries/s"], row["Bytes a message"], row["Remarks"]) == (10_000, 200, "")
    assert row["p99, ms"] == Spread(99.0, 99.0, 99.0)
    assert dict(zip(fan_report.COLUMNS, bare, strict=True))["x bare"] is None


@pytest.mark.parametrize(
    ("taken", "remark"),
    [
        (replace(FINE, load_s=0.91), "the load was the bottleneck"),
        (replace(FINE, messages=9_999), "1 of 10,000 deliveries missing"),
        (
            replace(FINE, errors=['??{"type":"error","payload":{"code":"overloaded","message":"x"}}']),
            "1 sends refused, the first with** `overloaded`",
        ),
        (replace(FINE, gone=2), "2 clients cut off"),
        (replace(FINE, others_s=0.5), "other programs used 25% of both cores"),
        (replace(FINE, reads=5_000), "2.0 flushes joined to a read"),
    ],
)
def test_what_speaks_against_a_row_is_said(taken: Taken, remark: str) -> None:
    """Each flaw by itself."""
    (found,) = fan_report.remarks(fan(COMET, 0.1, like=taken))
    assert remark in found


def test_targets_are_of_1000_clients_against_the_bare_write() -> None:
    """Of no other shape; a doubt about either side is a doubt about the ratio."""
    small = Shape(100, 1, 1)
    fans = [fan(COMET, 0.12), fan(BARE, 0.1, like=replace(FINE, reads=5_000)), fan(COMET, 0.1, shape=small)]
    (found,) = fan_report.measured([*fans, fan(BARE, 0.1, shape=small)])
    assert found.key == "fanout_1"
    assert found.value == pytest.approx(1.2)
    assert found.doubt == "2.0 flushes joined to a read"
