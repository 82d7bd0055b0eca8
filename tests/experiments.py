"""Files that tests of reading share: a small target, a good experiment on it, and a way to change both."""

from __future__ import annotations

from pathlib import Path

from chaoskit.errors import FileError
from chaoskit.reading import load

TARGET = """\
name: tiny
entry: web
services:
  web:
    run: python -m web --port {port}
    needs: {API_URLS: "http://{api:all}", DATABASE_URL: "postgresql://{db}/tiny"}
    health: /health
  api: {run: "python -m api --port {port}", replicas: 2}
  db: {provides: postgres}
"""

EXPERIMENT = """\
title: Pages come although the api is slow
target: tiny
load:
  rate: 50/s
  requests:
    - {name: page, path: /page, weight: 3}
    - {name: search, path: /search, weight: 1}
phases: {warmup: 1s, baseline: 6s, fault: 10s, recovery: 6s}
blast_radius: [web->api]
steady_state:
  - {kind: error_rate, max: 1%}
faults:
  - {kind: latency, on: web->api, add: 100ms}
hypotheses:
  - {kind: latency, of: page, p95: 400ms}
  - {kind: recovery, within: 3s}
variants:
  calm: {}
  hasty: {expect: refuted, breaks: [latency], env: {web: {TIMEOUT: 1}}}
"""


def write(folder: Path, *changes: tuple[str, str], target: str = TARGET) -> Path:
    """The experiment with its target, with texts replaced in it. Every text must be there."""
    (folder / "targets" / "tiny").mkdir(parents=True, exist_ok=True)
    (folder / "targets" / "tiny" / "target.yaml").write_text(target)
    text = EXPERIMENT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    file = folder / "it.yaml"
    file.write_text(text)
    return file


def told(folder: Path, *changes: tuple[str, str], target: str = TARGET) -> list[str]:
    """Problems of the changed experiment, without the folder's name."""
    try:
        load(write(folder, *changes, target=target))
    except FileError as error:
        return [str(problem).replace(f"{folder}/", "") for problem in error.problems]
    return []
