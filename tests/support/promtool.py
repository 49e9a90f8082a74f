"""`promtool`, which comes with Prometheus: where it is, and what `make lint` has it check.

Where it is missing the check is left out with a line that says what to install; in CI that is a failure.
"""

import os
import shutil
import subprocess
import sys

import pytest

from testbed.prometheus import CONFIGURATION

MISSING = (
    "promtool and prometheus are not on the PATH; install Prometheus "
    "(Debian, Ubuntu: apt-get install --no-install-recommends prometheus)"
)


def found() -> bool:
    """Whether Prometheus and promtool are there."""
    return bool(shutil.which("prometheus") and shutil.which("promtool"))


needs_prometheus = pytest.mark.skipif(not found(), reason=MISSING)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool beside Prometheus's configuration."""
    return subprocess.run(
        [shutil.which("promtool") or "promtool", *arguments],
        cwd=CONFIGURATION,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def main() -> int:
    """Check the configuration and the rules that it names; return the exit code."""
    if not found():
        sys.stderr.write(f"deploy/prometheus is NOT checked: {MISSING}\n")
        return 1 if os.environ.get("CI") else 0
    checks = [promtool("check", "config", "prometheus.yml"), promtool("check", "rules", "alerts.yml")]
    for check in checks:
        if check.returncode:
            sys.stderr.write(f"{check.stdout}{check.stderr}")
    return max(check.returncode for check in checks)


if __name__ == "__main__":
    sys.exit(main())
