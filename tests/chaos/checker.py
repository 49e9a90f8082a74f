"""The checker: a run's evidence in, what broke which promise out, blamed on the faults. Pure.

Who judges it: tests/unit/chaos/test_checker.py breaks sound evidence in every way, `make chaos-mutants` the product.
"""

from collections.abc import Callable, Iterator
from itertools import islice

from tests.chaos import rules_history, rules_load, rules_paths, rules_views
from tests.chaos.evidence import Evidence
from tests.chaos.logs import Logs
from tests.chaos.verdict import CALM, DOUBLED, LOST, REORDERED, TOLD, WRONG, Row, Verdict, Violation
from tests.chaos.waits import delay, waits
from tests.chaos.windows import Windows

Rule = Callable[[Evidence, Logs], Iterator[Violation]]

RULES: dict[str, Rule] = {
    "evidence": rules_load.evidence,
    "history": rules_history.history,
    "kafka": rules_paths.kafka,
    "calm_repeats": rules_paths.calm_repeats,
    "pubsub": rules_paths.pubsub,
    "push": rules_paths.push,
    "view": rules_views.view,
    "protocol": rules_views.protocol,
    "told": rules_views.told,
    "delay": delay,
    "dead_letters": rules_views.dead_letters,
    "unexpected": rules_views.unexpected,
}

# A broken product may break a rule a million times; a verdict needs no more of them. Past it the figures are a minimum.
MOST_OF_A_RULE = 20_000


def check(run: Evidence) -> Verdict:
    """Judge a run by all rules."""
    logs, windows = Logs(run), Windows(run.faults)
    found = [
        violation._replace(kind=windows.blame(violation.at))
        for rule in RULES.values()
        for violation in islice(rule(run, logs), MOST_OF_A_RULE)
    ]
    found.sort(key=lambda violation: violation.at)
    rows = {kind: Row(kind) for kind in [*sorted({fault.kind for fault in run.faults}), CALM]}
    total = Row("all", faults=len(run.faults), acked=len(run.acked))
    _count_load(run, windows, rows)
    _count_gaps(run, windows, rows, total)
    _count_violations(found, rows, total)
    return Verdict(found, list(rows.values()), total)


def _count_load(run: Evidence, windows: Windows, rows: dict[str, Row]) -> None:
    for fault in run.faults:
        rows[fault.kind].faults += 1
    for ack in run.acked:
        rows[windows.blame(ack.at)].acked += 1


def _count_gaps(run: Evidence, windows: Windows, rows: dict[str, Row], total: Row) -> None:
    """Find how long the last connected client waited for each message appended after it had joined."""
    for wait in waits(run):
        fault = windows.of_wait(wait.began, wait.ended)
        row = rows[fault.kind if fault is not None else CALM]
        row.longest_gap_s = max(row.longest_gap_s, wait.lasted_s)
        total.longest_gap_s = max(total.longest_gap_s, wait.lasted_s)


def _count_violations(found: list[Violation], rows: dict[str, Row], total: Row) -> None:
    """Count each message once, however many rules complain of it; told holes and what is no message, each by each."""
    for row in (total, *rows.values()):
        mine = [violation for violation in found if row is total or violation.kind == row.kind]
        for effect in (LOST, DOUBLED, REORDERED, WRONG):
            setattr(row, effect, _messages(mine, effect))
        row.told = sum(violation.effect == TOLD for violation in mine)


def _messages(found: list[Violation], effect: str) -> int:
    those = [violation for violation in found if violation.effect == effect]
    messages = {message for violation in those if violation.room for message in violation.messages}
    return len(messages) + sum(not violation.room for violation in those)
