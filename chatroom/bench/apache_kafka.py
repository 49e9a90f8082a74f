"""Apache Kafka's jars: fetched by Maven once a version into a cache outside the repository, safely for many at once."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

POM = Path(__file__).with_name("kafka") / "pom.xml"
_FETCH_TIMEOUT_S = 540


def apache_jars() -> Path:
    """Return the folder with Kafka's jars. Skips the test (a failure in CI) where Java or Maven is missing."""
    pom = POM.read_bytes()
    version = re.search(rb"<kafka.version>(.*?)</kafka.version>", pom)
    assert version is not None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chatroom"
    jars = cache / f"kafka-{version[1].decode()}-{hashlib.sha256(pom).hexdigest()[:8]}"
    if shutil.which("java") is None:
        pytest.skip("Apache Kafka needs Java 17 (the program java)")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another xdist worker may be fetching
        if not jars.is_dir():
            _fetch(jars)
    return jars


def _fetch(jars: Path) -> None:
    """Fill a folder beside it and rename that, so that a half-filled one is never taken for whole."""
    maven = shutil.which("mvn")
    if maven is None:
        pytest.skip("Apache Kafka's jars come with Maven (the program mvn)")
    with tempfile.TemporaryDirectory(dir=jars.parent) as unfinished:
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={unfinished}/jars"]
        done = subprocess.run(
            [maven, "--quiet", "--batch-mode", "--file", str(POM), *goal],
            capture_output=True,
            text=True,
            timeout=_FETCH_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"Maven can't fetch Apache Kafka:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
        Path(unfinished, "jars").rename(jars)
