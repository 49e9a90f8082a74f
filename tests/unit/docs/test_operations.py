"""docs/operations.md is true: its settings are the services', and what it names exists."""

import re
from pathlib import Path

import yaml

from comet.config import CometSettings
from common.config import SERVICES, SharedSettings
from tests.support import settings_table
from tests.support.dashboards import DASHBOARDS

ROOT = Path(__file__).parents[3]
TEXT = settings_table.PAGE.read_text()


def test_the_settings_are_those_of_the_services() -> None:
    """Every setting stands there with its names, default and description; `make docs` writes it anew."""
    assert settings_table.page() == TEXT, "run `make docs`"
    for name in SharedSettings.model_fields:
        assert f"`{SharedSettings.env_name(name)}`" in TEXT
    assert all(f"**{name.capitalize()}**" in TEXT for name in SERVICES)


def test_every_setting_that_the_text_names_is_in_the_table() -> None:
    """No advice names a setting that does not exist."""
    prose, table = TEXT.split(settings_table.BEGIN)
    named = set(re.findall(r"\b(?:CHAT|COMET|LOGIC|JOB)_[A-Z_]+\b", prose))
    assert len(named) > 10
    assert [name for name in named if f"| `{name}` |" not in table] == []


def test_every_file_that_is_named_exists() -> None:
    """Tests, dashboards and rules are where the page says."""
    named = re.findall(r"`((?:tests|deploy)/[\w/.]+)`", TEXT)
    assert len(named) > 4
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_panels_that_an_operator_is_sent_to_exist() -> None:
    """They stand in italics, without what their titles have behind a comma."""
    titles = {panel.title.split(",")[0] for dashboard in DASHBOARDS for panel in dashboard.panels}
    named = set(re.findall(r"(?<!\w)_([A-Z][^_`\n]+)_(?!\w)", TEXT.split(settings_table.BEGIN)[0]))
    assert len(named) > 8
    assert named <= titles


def test_the_examples_of_secrets_mount_what_their_settings_name() -> None:
    """Each `_FILE` of an example is a setting of the service, and lies where the example mounts its secrets."""
    blocks = [yaml.safe_load(one) for one in re.findall(r"(?s)```yaml\n(.*?)```", TEXT) if "_FILE" in one]
    [compose] = [block for block in blocks if "secrets" in block]
    comet = compose["services"]["comet"]
    assert comet["environment"] == {"COMET_AUTH_KEY_FILE": f"/run/secrets/{comet['secrets'][0]}"}
    assert comet["secrets"] == list(compose["secrets"])
    [pod] = [block for block in blocks if "containers" in block]
    [container] = pod["containers"]
    [mount] = container["volumeMounts"]
    assert [one["name"] for one in pod["volumes"]] == [mount["name"]]
    assert len(container["env"]) == 2
    for one in container["env"]:
        assert Path(one["value"]).parent == Path(mount["mountPath"])
        assert one["name"] in {CometSettings.env_name(name) for name in CometSettings.names()}
