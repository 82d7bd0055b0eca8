"""Finds a real Toxiproxy on this machine, or gets one: by `go install`, else the release whose hash is known here."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from chaoskit.errors import MissingPart

__all__ = ["VERSION", "cached_path", "find_toxiproxy", "install"]

VERSION = "2.12.0"
_MODULE = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
_FLAGS = f"-s -w -X github.com/Shopify/toxiproxy/v2.Version={VERSION}"
"""Without these it calls itself `git`, and clients that look at the version take it for an old one."""
_RELEASES = f"https://github.com/Shopify/toxiproxy/releases/download/v{VERSION}"
_SHA256 = {
    "darwin_amd64": "52ac1f99d7204b4b523f910b791bc86318b50ef94822c79a6157606704003ced",
    "darwin_arm64": "cece3905c06ad84d6b3bb4cd024c344e6466736b2a8cbaf9ef4fe45e62aba9b2",
    "linux_amd64": "65e042d3fc2290c099527bc506446a6fd863a09f113b8944b636ece70221c2b3",
    "linux_arm64": "ab417dafc77ae8b54ec8461cc5da5180d0465a61dcbda86c72da72ee4ab843b7",
}
"""Of `toxiproxy_{VERSION}_{platform}.tar.gz` among the releases: what Hermit's packages pin for them too."""


def cached_path() -> Path:
    """Where `install` puts it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "chaoskit/bin/toxiproxy-server"


def find_toxiproxy() -> str:
    """Path of a real one: on PATH, else in the cache; empty where there is none."""
    found = shutil.which("toxiproxy-server")
    if found:
        return found
    cached = cached_path()
    return str(cached) if os.access(cached, os.X_OK) else ""


def install(say: Callable[[str], None] = lambda _: None) -> Path:
    """Get it into the cache. Raises MissingPart with every way that failed, and why."""
    target = cached_path()
    try:
        return _install(target, say)
    except OSError as error:
        raise MissingPart(
            f"Toxiproxy {VERSION} could not be put into {target.parent}: {error.strerror or error}",
            hint="set XDG_CACHE_HOME to a folder that you may write to, or put a toxiproxy-server on PATH",
        ) from None


def _install(target: Path, say: Callable[[str], None]) -> Path:
    """Raises OSError where the cache cannot be written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    for way in (_by_go, _by_release):
        try:
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".install-") as folder:
                made = way(Path(folder), say)
                made.chmod(0o755)
                _check_runs(made)
                made.replace(target)
        except MissingPart as error:
            failures.append(error.message)
        else:
            return target
    raise MissingPart(
        f"Toxiproxy {VERSION} could not be installed",
        hint="install Go, or put a toxiproxy-server on PATH, or go on with the embedded one (the default)",
        detail="\n".join(failures),
    )


def _by_go(folder: Path, say: Callable[[str], None]) -> Path:
    go = shutil.which("go")
    if go is None:
        raise MissingPart("go install: there is no Go on PATH")
    say(f"go install {_MODULE}")
    built = subprocess.run(
        [go, "install", "-ldflags", _FLAGS, _MODULE],
        env={**os.environ, "GOBIN": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    made = folder / "server"  # the command's folder is called `server`, and so is what comes out
    if built.returncode or not made.exists():
        lines = built.stderr.strip().splitlines()
        raise MissingPart(f"go install: {lines[-1] if lines else f'ended with {built.returncode}'}")
    return made


def _by_release(folder: Path, say: Callable[[str], None]) -> Path:
    machine = platform.machine().lower()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    on = f"{platform.system().lower()}_{arch}"
    wanted = _SHA256.get(on)
    if wanted is None:
        raise MissingPart(f"release: there is none of Toxiproxy {VERSION} for {on} (there are: {', '.join(_SHA256)})")
    url = f"{_RELEASES}/toxiproxy_{VERSION}_{on}.tar.gz"
    say(f"download {url}")
    data = _download(url)
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise MissingPart(f"release: {url} has SHA-256 {found}, not {wanted}: it is not what was published")
    made = folder / "toxiproxy-server"
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = archive.extractfile(made.name)
        assert member is not None, "the hash says what is in it"
        made.write_bytes(member.read())
    return made


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the address is written above
            data: bytes = answer.read()
            return data
    except (urllib.error.URLError, OSError) as error:
        raise MissingPart(f"release: {url}: {error}") from None


def _check_runs(path: Path) -> None:
    try:
        asked = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPart(f"{path.name} does not run here: {error}") from None
    if asked.returncode or "version" not in asked.stdout:
        raise MissingPart(f"{path.name} does not run here: {asked.stderr.strip() or asked.stdout.strip()}")
