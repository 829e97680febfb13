"""A tracking server for tests: MLflow's REST API as its client calls it, in memory; artifacts over HTTP.

``mlflow-skinny``, which runs are logged with, has no server. This one refuses names and batches that MLflow's
own refuses (``mlflow.utils.validation``); the same test runs against MLflow's own where it is installed.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

NAME = re.compile(r"[/\w.\- :]{1,250}")
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"


class Refusal(Exception):
    """What MLflow answers with an error of its own."""


class Store:
    """Experiments, runs and artifacts."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, bytes] = {}
        self.calls: list[str] = []

    def answer(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return what the server answers a call, such as ``runs/create``."""
        self.calls.append(call)
        return getattr(self, call.replace("/", "_").replace("-", "_"))(**body)

    def experiments_create(self, name: str, **_: Any) -> dict[str, Any]:
        self.experiments[name] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[name]}

    def experiments_get_by_name(self, experiment_name: str) -> dict[str, Any]:
        if experiment_name not in self.experiments:
            raise Refusal("RESOURCE_DOES_NOT_EXIST")
        found = {"experiment_id": self.experiments[experiment_name], "name": experiment_name}
        return {"experiment": {**found, "lifecycle_stage": "active", "artifact_location": "x"}}

    def runs_create(
        self, experiment_id: str, tags: Any = (), start_time: int = 0, **_: Any
    ) -> dict[str, Any]:
        key = f"{len(self.runs) + 1:032x}"
        info = {"run_id": key, "run_uuid": key, "experiment_id": experiment_id, "status": "RUNNING"}
        info |= {
            "lifecycle_stage": "active",
            "start_time": start_time,
            "artifact_uri": f"mlflow-artifacts:/{key}",
        }
        self.runs[key] = {"info": info, "data": {"metrics": [], "params": [], "tags": [*tags]}}
        return {"run": self.runs[key]}

    def runs_get(self, run_id: str, **_: Any) -> dict[str, Any]:
        if run_id not in self.runs:
            raise Refusal("RESOURCE_DOES_NOT_EXIST")
        return {"run": self.runs[run_id]}

    def runs_update(self, run_id: str, **changes: Any) -> dict[str, Any]:
        self.runs[run_id]["info"] |= changes
        return {"run_info": self.runs[run_id]["info"]}

    def runs_log_batch(self, run_id: str, **rows: list[dict[str, Any]]) -> dict[str, Any]:
        if sum(map(len, rows.values())) > 1000 or len(rows.get("params", ())) > 100:
            raise Refusal("INVALID_PARAMETER_VALUE")
        for kind, some in rows.items():
            for row in some:
                if not NAME.fullmatch(row["key"]) or row["key"].startswith((".", "/")) or ".." in row["key"]:
                    raise Refusal("INVALID_PARAMETER_VALUE")
                self.runs[run_id]["data"][kind].append(row)
        return {}

    def runs_search(self, experiment_ids: list[str], filter: str = "", **_: Any) -> dict[str, Any]:
        found = [run for run in self.runs.values() if run["info"]["experiment_id"] in experiment_ids]
        if parent := re.fullmatch(r"tags.mlflow.parentRunId = '(\w+)'", filter):
            found = [run for run in found if self.tag(run, "mlflow.parentRunId") == parent[1]]
        return {"runs": found}

    def runs_delete(self, run_id: str) -> dict[str, Any]:
        del self.runs[run_id]
        return {}

    def logged_models_search(self, **_: Any) -> dict[str, Any]:
        return {"models": []}

    def listed(self, folder: str) -> list[dict[str, Any]]:
        """Return the files and folders of an artifact folder."""
        below = [name.removeprefix(f"{folder}/") for name in self.artifacts if name.startswith(f"{folder}/")]
        found = {name.partition("/")[0]: "/" in name for name in below}
        return [{"path": name, "is_dir": is_dir} for name, is_dir in sorted(found.items())]

    @staticmethod
    def tag(run: dict[str, Any], key: str) -> str | None:
        """Return a tag of a run."""
        return next((one["value"] for one in run["data"]["tags"] if one["key"] == key), None)


class Handler(BaseHTTPRequestHandler):
    """Answers for a store, which a subclass names."""

    store: Store

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        found = dict(urllib.parse.parse_qsl(query))
        if path == ARTIFACTS.rstrip("/"):
            self._send(200, {"files": self.store.listed(found["path"])})
        else:
            self._answer(path, found)

    def do_POST(self) -> None:
        self._answer(self.path, json.loads(self._body()))

    def do_PUT(self) -> None:
        self.store.artifacts[urllib.parse.unquote(self.path.removeprefix(ARTIFACTS))] = self._body()
        self._send(200, {})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        return found

    def _answer(self, path: str, body: dict[str, Any]) -> None:
        try:
            self._send(200, self.store.answer(path.removeprefix("/api/2.0/mlflow/"), body))
        except Refusal as refusal:
            self._send(400, {"error_code": str(refusal), "message": str(refusal)})
        except Exception as error:  # a call that is not known here
            self._send(501, {"error_code": "ENDPOINT_NOT_FOUND", "message": f"{path}: {error!r}"})

    def _send(self, status: int, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None: ...


@contextlib.contextmanager
def started() -> Iterator[tuple[str, Store]]:
    """Start the server at a free port of this machine; yields its address and what it has got."""
    store = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Of", (Handler,), {"store": store}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def real(folder: Path) -> Iterator[str]:
    """Start MLflow's own server; a test is skipped where only its client is installed."""
    python = os.environ.get("EOLAB_MLFLOW_PYTHON", sys.executable)
    known = "import importlib.metadata as m; m.distribution('mlflow')"
    if subprocess.run([python, "-c", known], capture_output=True).returncode:
        pytest.skip(
            "MLflow's server is not installed: pip install mlflow, or name one in EOLAB_MLFLOW_PYTHON"
        )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir()
    command = [python, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        "sqlite:///mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PYTHONPATH"))}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=kept, stdout=log, stderr=log, start_new_session=True
        )
    try:
        uri, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{uri}/health", timeout=1).close()
                break
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.2)
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
