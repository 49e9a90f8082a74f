"""The settings as docs/operations.md lists them, from the services' own models; `make docs` writes them there."""

import re
from importlib import import_module
from pathlib import Path

from pydantic import SecretStr

from common.config import SERVICES, Shared, flag

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
BEGIN, END = "<!-- written by `make docs` -->\n", "<!-- until here -->\n"


def table() -> str:
    """Return a table for what all services share and one for each service."""
    own = {name: import_module(f"{name}.config").Settings for name in SERVICES}
    parts = [_part("All three services", Shared, list(Shared.model_fields))]
    parts += [
        _part(name.capitalize(), cls, [field for field in cls.model_fields if field not in Shared.model_fields])
        for name, cls in own.items()
    ]
    return "\n".join(parts)


def _part(title: str, cls: type[Shared], fields: list[str]) -> str:
    rows = ["| environment | file | flag | default | what |", "|---|---|---|---|---|"]
    for field in fields:
        spec = cls.model_fields[field]
        names = f"`{cls.env_name(field)}` | `{cls.file_key(field)}` | `{flag(field)}`"
        what = (spec.description or "").replace("|", "\\|")
        rows.append(f"| {names} | {_shown(spec.default)} | {what} |")
    return f"**{title}**\n\n" + "\n".join(rows) + "\n"


def _shown(default: object) -> str:
    value = default.get_secret_value() if isinstance(default, SecretStr) else default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value not in {"", None} else "none"


def page() -> str:
    """Return the page with the tables as they should be."""
    text = PAGE.read_text()
    return re.sub(f"(?s){re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n{table()}\n{END}", text)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
