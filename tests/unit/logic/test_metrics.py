"""logic/metrics.py: what Prometheus gets, from a fresh interpreter, as the switch for it is global."""

import subprocess
import sys

PROGRAM = "import logic.metrics, prometheus_client; print(prometheus_client.generate_latest().decode())"


def test_no_created_series_stands_beside_a_counter() -> None:
    """Prometheus needs none."""
    argv = [sys.executable, "-c", PROGRAM]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "logic_pushes_total" in shown
    assert "_created" not in shown
