"""Dashboards and alerts hold together: with the metrics that exist, with each other, with the runbook."""

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.config import SERVICES
from testbed.prometheus import CONFIGURATION
from tests.support.dashboards import DASHBOARDS, Panel
from tests.support.promtool import needs_prometheus, promtool

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
ALERTS: list[dict[str, Any]] = yaml.safe_load((CONFIGURATION / "alerts.yml").read_text())["groups"][0]["rules"]
CASES: list[dict[str, Any]] = yaml.safe_load((CONFIGURATION / "alerts.test.yml").read_text())["tests"]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def provisioning(path: str) -> Any:
    """Return a file of Grafana's provisioning."""
    return yaml.safe_load((ROOT / "deploy/grafana/provisioning" / path).read_text())


def panels() -> list[Panel]:
    """Return the panels of all dashboards."""
    return [panel for dashboard in DASHBOARDS for panel in dashboard.panels]


def queries() -> list[str]:
    """Return all queries, of panels and of alerts."""
    return [expr for panel in panels() for expr, _ in panel.targets] + [alert["expr"] for alert in ALERTS]


def exported() -> set[str]:
    """Return the names of the metrics in the sources, and those that the client library and Prometheus add."""
    sources = "".join(path.read_text() for part in ("common", *SERVICES) for path in (ROOT / part).glob("*.py"))
    names = set(re.findall(r'(?:Counter|Counts|Gauge|Histogram|Histograms)\(\s*"(\w+)"', sources))
    return names | {"process_cpu_seconds_total", "process_resident_memory_bytes", "up"}


def test_the_overview_has_the_two_documented_queries() -> None:
    """The success rate, success / (success + failed), and the rate of successes over a minute."""
    call = 'grpc_calls_total{service="comet",name="logic_forward",status="%s"}'
    success, failed = call % "success", call % "failed"
    asked = {panel.title: panel.targets[0][0] for panel in DASHBOARDS[0].panels}
    assert asked["Forward to Logic: success rate"] == f"sum({success}) / (sum({success}) + sum({failed}))"
    assert asked["Forward to Logic: messages a second"] == f"rate({success}[1m])"


@pytest.mark.parametrize("query", queries())
def test_a_query_asks_for_metrics_that_exist(query: str) -> None:
    """Each name is exported by a service; none is made up where nothing is measured."""
    bare = re.sub(r"\{.*?\}|\[.*?\]|by \(.*?\)", "", query)
    names = set(re.findall(r"\b(?!(?:sum|max|rate|increase|deriv|histogram_quantile|and|or)\b)[a-z]\w+", bare))
    assert names
    assert {re.sub("_(total|bucket|sum|count)$", "", name) for name in names} <= {
        name.removesuffix("_total") for name in exported()
    }
    assert "vector(" not in query


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_a_dashboard_lays_its_panels_out_side_by_side(dashboard: Any) -> None:
    """Each has an id of its own, says what it shows, and covers no other."""
    assert len({panel.id for panel in dashboard.panels}) == len(dashboard.panels)
    assert all(len(panel.description) > 20 for panel in dashboard.panels)
    overlaps = [
        (a.title, b.title)
        for a, b in combinations(dashboard.panels, 2)
        if a.x < b.x + b.w and b.x < a.x + a.w and a.y < b.y + b.h and b.y < a.y + a.h
    ]
    assert overlaps == []
    assert all(panel.x + panel.w <= 24 for panel in dashboard.panels)


def test_grafana_is_given_the_source_that_the_dashboards_name() -> None:
    """One source, by the uid of every panel, at Prometheus's port; one folder, where the dashboards are mounted."""
    (source,) = provisioning("datasources/prometheus.yml")["datasources"]
    assert {panel.source for panel in panels()} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    (provider,) = provisioning("dashboards/chatroom.yml")["providers"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in COMPOSE["services"]["grafana"]["volumes"]


def test_prometheus_is_given_the_rules() -> None:
    """The folder that compose mounts holds the file that the configuration names."""
    assert "./deploy/prometheus:/etc/prometheus:ro" in COMPOSE["services"]["prometheus"]["volumes"]
    assert yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())["rule_files"] == ["alerts.yml"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_has_an_entry_in_the_runbook(alert: dict[str, Any]) -> None:
    """Under the anchor that it names: what it means, and commands to look with."""
    name = alert["alert"]
    assert alert["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
    assert alert["labels"]["severity"] in {"critical", "warning"}
    (entry,) = re.findall(rf"(?ms)^### {name}$(.*?)(?=^##)", OPERATIONS)
    for part in ("**Means.**", "**Look.**", "**Do.**"):
        assert part in entry, f"{name} lacks {part}"


def expectations(name: str) -> Iterator[list[Any]]:
    """Return what the rules' tests expect of an alert, one evaluation each."""
    for case in CASES:
        yield from (one["exp_alerts"] for one in case["alert_rule_test"] if one["alertname"] == name)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_is_shown_to_fire_and_to_be_quiet(alert: dict[str, Any]) -> None:
    """alerts.test.yml has a case of either kind."""
    expected = list(expectations(alert["alert"]))
    assert any(expected)
    assert not all(expected)


@needs_prometheus
def test_the_rules_fire_when_they_should() -> None:
    """Promtool runs alerts.test.yml."""
    done = promtool("test", "rules", "alerts.test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_the_rules_tests_notice_an_alert_that_never_fires(alert: dict[str, Any], tmp_path: Path) -> None:
    """With its expression made impossible the same tests fail."""
    rules = [{**one, "expr": f"({one['expr']}) < -1"} if one is alert else one for one in ALERTS]
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump({"groups": [{"name": "chatroom", "rules": rules}]}))
    (tmp_path / "alerts.test.yml").write_text((CONFIGURATION / "alerts.test.yml").read_text())
    done = promtool("test", "rules", str(tmp_path / "alerts.test.yml"))
    assert done.returncode == 1
    assert alert["alert"] in done.stdout + done.stderr
