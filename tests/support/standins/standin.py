"""A stand-in for a service, for tests of `chatroom up` alone: quick to start, and it fails when told to.

It keeps the contract that `up` relies on: --print-settings, /readyz, SIGTERM, one line on stderr and an exit code.
What it does wrong stands in the environment: `STANDIN_<SERVICE>=refuse|crash|unready|deaf`.
"""

import http.server
import json
import os
import signal
import sys
import threading
from typing import NoReturn

_SHARED = {
    "redis_url": "redis://localhost:6379/0",
    "kafka_brokers": "localhost:9092",
    "kafka_topic": "my-topic",
    "log_format": "auto",
    "http_bind_ip": "127.0.0.1",
    "drain_seconds": 1,
}
_OWN: dict[str, dict[str, object]] = {
    "comet": {
        "http_bind_port": 8082,
        "grpc_port": 50051,
        "metrics_port": 9091,
        "forward_url": "http://localhost:8090",
        "advertise_address": "",
    },
    "logic": {"http_bind_port": 8090},
    "job": {"metrics_port": 9094, "partitions": 4, "comet_addrs": "localhost:50051"},
}


def main(service: str) -> None:
    """Run the stand-in."""
    settings = _settings(service)
    if "--print-settings" in sys.argv:
        sys.stdout.write(json.dumps(settings) + "\n")
        return
    fault = os.environ.get(f"STANDIN_{service.upper()}", "")
    if fault == "refuse":
        _end(f"{service} refuses to start", 1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if fault == "deaf" else lambda *_: os._exit(0))
    ready = threading.Event()
    if fault != "unready":
        ready.set()
    server = _serve(settings, ready)
    told = {name: value for name, value in os.environ.items() if name.startswith(("CHAT_", f"{service.upper()}_"))}
    sys.stdout.write(f"{service} told {json.dumps(told)}\n")
    sys.stdout.flush()
    if fault == "crash":
        server.handle_request()
        _end(f"{service} has crashed", 3)
    server.serve_forever()


def _settings(service: str) -> dict[str, object]:
    """Take what the environment says; an ill-typed port is a fault."""
    settings: dict[str, object] = {**_SHARED, **_OWN[service]}
    for name, default in settings.items():
        prefix = "CHAT" if name in _SHARED and name not in {"http_bind_ip", "drain_seconds"} else service.upper()
        if value := os.environ.get(f"{prefix}_{name.upper()}"):
            if isinstance(default, int) and not value.isdigit():
                _end(f"{service}: bad setting {prefix}_{name.upper()}: not a number, got {value!r}", 2)
            settings[name] = int(value) if isinstance(default, int) else value
    if "CHAT_REDIS_URL_FILE" in os.environ:
        settings["redis_url"] = "redis://***@as.in.the.file"  # a service shows no password
    if service == "comet" and (index := int(os.environ.get("COMET_NODE_INDEX", "0"))):
        for name, step in {"http_bind_port": 100 * index, "grpc_port": index, "metrics_port": 99 + index}.items():
            settings[name] = int(str(settings[name])) + step
    return settings


def _serve(settings: dict[str, object], ready: threading.Event) -> http.server.HTTPServer:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"reasons": {} if ready.is_set() else {"kafka": "away"}}).encode()
            self.send_response(200 if ready.is_set() else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    port = settings.get("metrics_port", settings.get("http_bind_port"))
    return http.server.HTTPServer(("127.0.0.1", int(str(port))), Answer)


def _end(words: str, code: int) -> NoReturn:
    sys.stderr.write(f"{words}\n")
    sys.exit(code)
