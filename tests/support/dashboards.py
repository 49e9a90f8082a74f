"""Grafana's dashboards, read: what each panel shows, where, and what it asks Prometheus."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its place in the grid, and its queries with their legends."""

    id: int
    title: str
    description: str
    source: str
    x: int
    y: int
    w: int
    h: int
    targets: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; the rows between its panels are left out."""

    uid: str
    panels: list[Panel]


def _panel(found: dict[str, Any]) -> Panel:
    targets = [(target["expr"], target["legendFormat"]) for target in found["targets"]]
    source = found["datasource"]["uid"]
    return Panel(found["id"], found["title"], found["description"], source, **found["gridPos"], targets=targets)


def _dashboard(name: str) -> Dashboard:
    found = json.loads((FOLDER / name).read_text())
    return Dashboard(found["uid"], [_panel(panel) for panel in found["panels"] if panel["type"] != "row"])


DASHBOARDS = [_dashboard("chatroom.json"), _dashboard("chatroom-services.json")]
