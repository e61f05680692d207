"""A stand-in for a Kubernetes cluster: its API server, as far as Snakemake's plugin speaks to it, whose pods are
processes of this machine. It refuses what a real one would of what is asked here."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

needs_rsync = pytest.mark.skipif(
    shutil.which("rsync") is None, reason="rsync, which outcomes are stored with, is absent"
)


class Cluster(ThreadingHTTPServer):
    """Answers on a free port; `folder` takes its pods' files, and the client's configuration."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.folder = folder
        self.asked: list[dict[str, Any]] = []
        """The jobs that it was given, whether or not it took them."""
        self.pods: dict[str, subprocess.Popen[bytes]] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.environment = {
            "KUBECONFIG": str(self._write("kubeconfig", _configuration(self.server_port))),
            "SNAKEMAKE_PROFILE": str(self._write("profile/config.yaml", PROFILE).parent),
        }
        # Each pod installs the storage plugin that its image has already.
        self._write("bin/pip", "#!/bin/sh\n").chmod(0o755)

    def start_pod(self, job: dict[str, Any]) -> None:
        """Run a job's container, with nothing of this process's environment."""
        name = job["metadata"]["name"]
        (container,) = job["spec"]["template"]["spec"]["containers"]
        home = self.folder / "pods" / name
        home.mkdir(parents=True)
        environment = {"HOME": str(home), "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"}
        for variable in container.get("env", ()):
            source = variable["valueFrom"]["secretKeyRef"]
            environment[variable["name"]] = base64.b64decode(self.secrets[source["name"]][source["key"]]).decode()
        with (home / "log").open("wb") as log:
            self.pods[name] = subprocess.Popen(
                [*container["command"], *container["args"]],
                cwd=home,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def end_pod(self, name: str, how: signal.Signals) -> None:
        """Send a signal to all processes of a pod."""
        with suppress(KeyError, ProcessLookupError):
            os.killpg(self.pods[name].pid, how)

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


PROFILE = """\
kubernetes-persistent-volumes: ["work:/volume"]
container-image: registry.example.org/superinfo
seconds-between-status-checks: 1
"""


@contextmanager
def cluster_in(folder: Path) -> Iterator[Cluster]:
    """Yield a cluster that answers; end its pods with it."""
    with Cluster(folder) as cluster:
        answering = Thread(target=cluster.serve_forever, args=(0.05,))
        answering.start()
        try:
            yield cluster
        finally:
            cluster.shutdown()
            answering.join()
            for name, pod in cluster.pods.items():
                cluster.end_pod(name, signal.SIGKILL)
                pod.wait()


def _configuration(port: int) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": "me"}}],
            "current-context": "local",
        }
    )


def _fault(job: dict[str, Any]) -> str | None:
    """Say why a cluster would not take a job.

    A device, such as nvidia.com/gpu, is not shared out beyond what there is: its limit must be given, and be what is
    requested (kubernetes.io/docs/tasks/manage-gpus/scheduling-gpus).
    """
    (container,) = job["spec"]["template"]["spec"]["containers"]
    limits = container["resources"].get("limits", {})
    devices = {name: count for name, count in container["resources"]["requests"].items() if "/" in name}
    if any(limits.get(name) != count for name, count in devices.items()):
        return f"{', '.join(devices)}: Required value: Limit must be set for non overcommitable resources"
    mounted, volumes = container["volumeMounts"], job["spec"]["template"]["spec"]["volumes"]
    unknown = {mount["name"] for mount in mounted} - {volume["name"] for volume in volumes}
    return f"volumeMounts: Not found: {', '.join(unknown)}" if unknown else None


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Cluster

    def log_message(self, *_: object) -> None:
        """Keep the test's output to itself."""

    def do_POST(self) -> None:
        posted, kind = self._read(), self.path.rsplit("/", 1)[1]
        if kind == "secrets":
            self.server.secrets[posted["metadata"]["name"]] = posted.get("data", {})
            return self._answer(201, posted)
        self.server.asked.append(posted)
        if fault := _fault(posted):
            return self._answer(422, {"kind": "Status", "code": 422, "reason": "Invalid", "message": fault})
        self.server.start_pod(posted)
        return self._answer(201, posted)

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        *_, name, last = address.path.split("/")
        if last == "pods":
            wanted = parse_qs(address.query)["labelSelector"][0].removeprefix("job-name=")
            found = [_pod(wanted, self.server.pods[wanted].poll())] if wanted in self.server.pods else []
            return self._answer(200, {"kind": "PodList", "apiVersion": "v1", "items": found})
        if last == "log":
            return self._answer(200, (self.server.folder / "pods" / name / "log").read_text())
        ended = self.server.pods[name].poll()
        status = {"active": 1} if ended is None else {"succeeded": 1} if ended == 0 else {"failed": 1}
        return self._answer(
            200, {"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": name}, "status": status}
        )

    def do_DELETE(self) -> None:
        self._read()
        *_, kind, name = urlsplit(self.path).path.split("/")
        if kind == "jobs":
            self.server.end_pod(name, signal.SIGTERM)
        self._answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _read(self) -> dict[str, Any]:
        size = int(self.headers.get("Content-Length") or 0)
        content: dict[str, Any] = json.loads(self.rfile.read(size)) if size else {}
        return content

    def _answer(self, code: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _pod(name: str, ended: int | None) -> dict[str, Any]:
    state = {"running": {}} if ended is None else {"terminated": {"exitCode": ended}}
    container = {"name": "snakemake", "image": "", "imageID": "", "ready": True, "restartCount": 0, "state": state}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "snakemake"}]},
        "status": {"containerStatuses": [container]},
    }
