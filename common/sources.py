"""Sources of settings: the config file, the environment and flags. Each becomes a table of values with their origins.

Every value is stripped of surrounding white space and byte-order marks. Quotes around a value are a fault, because they
would be part of it. A secret may stand in a file of its own, which the same setting with `_file` at its end names.
No fault shows a secret.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from common.errors import SettingError

Source: TypeAlias = dict[str, tuple[str, str]]  # field -> its value, and where that stands

FILE: Final = "_file"
SECRET_BYTES: Final = 65_536  # of a secret's file
QUOTES: Final = "\"'`\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2039\u203a"  # also typographic ones
_EDGES: Final = re.compile(r"\A[\s\ufeff]+|[\s\ufeff]+\Z")
_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_FORM: Final = "expected key=value, the key in lower case"
# Kubernetes puts these into every container for a service named, say, `comet`; they are nobody's mistake.
_KUBERNETES: Final = re.compile(r"(COMET|LOGIC|JOB)_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_\w+)?)")


def stripped(value: str) -> str:
    """Return a value without surrounding white space and byte-order marks."""
    return _EDGES.sub("", value)


def from_environ(service: str, fields: Mapping[str, str], environ: Mapping[str, str]) -> Source:
    """Read the environment; `fields` has each setting's field by its name there. Raises SettingError."""
    unknown = [
        name
        for name in environ
        if name.startswith((f"{service.upper()}_", "CHAT_")) and name not in fields and not _KUBERNETES.fullmatch(name)
    ]
    if unknown:
        raise SettingError("\n".join(f"{service}: unknown setting {name} in the environment" for name in unknown))
    return {fields[name]: (value, name) for name, value in environ.items() if name in fields}


def from_file(service: str, fields: Mapping[str, str], others: tuple[str, ...], path: Path) -> Source:
    """Read a config file; pass over keys that begin as `others` do. Raises SettingError."""
    found: Source = {}
    for number, line in enumerate(_lines(service, path), 1):
        text = stripped(re.sub(r"(^|\s)#.*", "", line))
        if not text:
            continue
        key, equals, value = (part.strip() for part in text.partition("="))
        where = f"{path}, line {number}"
        if not equals or not _NAME.fullmatch(key):  # maybe a secret's second line, which must not be shown
            raise SettingError(f"{service}: {where}: {_FORM}")
        if key in fields:
            found[fields[key]] = (value, f"{key} in {where}")
        elif key.startswith(others) or (service != "comet" and not key.startswith((f"{service}_", "chat_"))):
            continue  # another service's; it checks it
        elif not value:  # likewise
            raise SettingError(f"{service}: {where}: {_FORM}")
        else:
            raise SettingError(f"{service}: unknown setting {key} in {where}")
    return found


def _lines(service: str, path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise SettingError(f"{service}: can't read the config file {path}: {e}") from None


def settle(source: Source, secrets: Iterable[str]) -> tuple[Source, dict[str, str]]:
    """Return what a source says, its secrets read from their files, and what is wrong with it by field."""
    values = {field: (stripped(value), origin) for field, (value, origin) in source.items()}
    secrets = frozenset(secrets)
    faults = {
        field: f"{origin}: {QUOTED}"
        for field, (value, origin) in values.items()
        if is_quoted(value, secret=field in secrets)
    }
    for field in secrets:
        if (named := values.pop(field + FILE, None)) is None or field + FILE in faults:
            continue
        path, origin = named
        try:
            if field in values:
                raise ValueError(f"{values[field][1]} is set, too: remove one of them")  # noqa: TRY301 - a fault as the file's
            values[field] = secret_of(path), f"{origin} ({path})"
        except ValueError as e:
            faults[field] = f"{origin}: {e}"
    return values, faults


QUOTED: Final = "the value is in quotes, which would be part of it: remove them"


def is_quoted(value: str, *, secret: bool) -> bool:
    """Whether a quote stands at an edge of a value, or of one of several with commas.

    A password may begin or end with a quote: a secret is quoted only where quotes stand at both edges.
    """
    edges = all if secret else any
    parts = (value, *map(stripped, value.split(",")))
    return any(edges((one[0] in QUOTES, one[-1] in QUOTES)) for one in parts if one)


def secret_of(path: str) -> str:
    """Return what a secret's file holds. Raises ValueError, which does not show it."""
    if not path:
        raise ValueError("is set but empty: name the file, or remove it")
    try:
        with Path(path).open("rb") as file:
            data = file.read(SECRET_BYTES + 1)
        value = stripped(data.decode())
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise ValueError(f"can't read the file {path}: {why}") from None
    if len(data) > SECRET_BYTES:
        raise ValueError(f"the file {path} is larger than {SECRET_BYTES} bytes")
    if is_quoted(value, secret=True):
        raise ValueError(f"the file {path}: {QUOTED}")
    return value
