"""Prometheus as a real server, from PATH: it scrapes every service that has metrics, once a second."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from chaoskit.errors import DeployError, MissingPart
from chaoskit.interfaces import Address, Backing, LaunchSpec, ServerPlan

__all__ = ["Prometheus"]

_CONFIG = """\
global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: services
    file_sd_configs: [{files: [services.json], refresh_interval: 1s}]
    relabel_configs: [{source_labels: [replica], target_label: instance}]
"""


class Prometheus(Backing):
    """A Prometheus server. `env: {RULES: targets/shop/rules.yml}` names a file of alerting or recording rules."""

    kind = "prometheus"
    protocol = "http"
    image = "prom/prometheus:v2.53.0"

    @classmethod
    def plan(cls, name: str, address: Address, folder: Path, *, databases: Sequence[str] = ()) -> ServerPlan:
        binary = shutil.which("prometheus")
        if binary is None:
            raise MissingPart("Prometheus is not on this machine", hint="apt-get install prometheus, or put it on PATH")
        log = str(folder / "prepare.log")
        env = {"PATH": os.defpath}
        write = ("/bin/sh", "-c", 'printf %s "$1" > prometheus.yml', "write", _CONFIG)
        argv = (binary, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}")
        return ServerPlan(
            prepare=(LaunchSpec(name=f"{name}-prepare", argv=write, env=env, cwd=str(folder), log=log),),
            server=LaunchSpec(name=name, argv=argv, env=env, cwd=str(folder), stop_grace=1.0),
        )

    @classmethod
    def introduce(
        cls, folder: Path, metrics: Mapping[str, str], settings: Mapping[str, str], *, root: Path = Path()
    ) -> None:
        groups = []
        for replica, url in sorted(metrics.items()):
            parts = urlsplit(url)
            service = replica.partition(".")[0]
            labels = {"replica": replica, "service": service, "__metrics_path__": parts.path or "/metrics"}
            groups.append({"targets": [parts.netloc], "labels": labels})
        (folder / "services.json").write_text(json.dumps(groups))
        (folder / "rules").mkdir(exist_ok=True)
        rules = settings.get("RULES")
        if rules:
            try:
                shutil.copy(root / rules, folder / "rules" / "target.yml")
            except OSError as error:
                raise DeployError(f"RULES names {rules}, which cannot be read: {error.strerror}") from error

    @classmethod
    def ready(cls, address: Address) -> bool:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=1.0)
        try:
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    @classmethod
    def found(cls) -> str:
        binary = shutil.which("prometheus")
        if binary is None:
            return ""
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
        words = (said.stdout or said.stderr).split()
        return f"{words[2] if len(words) > 2 else '?'} from {binary}"
