"""Apache Kafka's jars. Maven fetches each version once, into a cache outside the repository.

Several programs may ask for the jars at once: a file lock lets one of them fetch.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from common.errors import StartupError

POM = Path(__file__).with_name("pom.xml")
_FETCH_TIMEOUT_S = 540


class MissingProgram(StartupError):
    """Java or Maven is not on this machine."""


def version() -> str:
    """Return the version of Apache Kafka, such as 4.1.0."""
    return POM.read_text().partition("<kafka.version>")[2].partition("</kafka.version>")[0]


def apache_jars() -> Path:
    """Return the folder with Kafka's jars. Raises MissingProgram, or StartupError with Maven's output."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chatroom"
    jars = cache / f"kafka-{version()}-{hashlib.sha256(POM.read_bytes()).hexdigest()[:8]}"
    if shutil.which("java") is None:
        raise MissingProgram("Apache Kafka needs Java 17 (the program java): install it, or name a Kafka with --kafka")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another program may be fetching
        if not jars.is_dir():
            _fetch(jars)
    return jars


def _fetch(jars: Path) -> None:
    """Fill a folder beside it and rename that folder, so that other programs never see it half-filled."""
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingProgram(
            "Apache Kafka's jars come with Maven (the program mvn): install it, or name a Kafka with --kafka"
        )
    with tempfile.TemporaryDirectory(dir=jars.parent) as unfinished:
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={unfinished}/jars"]
        done = subprocess.run(
            [maven, "--quiet", "--batch-mode", "--file", str(POM), *goal],
            capture_output=True,
            text=True,
            timeout=_FETCH_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise StartupError(f"Maven can't fetch Apache Kafka:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
        Path(unfinished, "jars").rename(jars)
