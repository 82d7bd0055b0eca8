"""Which Docker engine is meant: DOCKER_HOST, else the current context, else the first socket that is there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from chaoskit.errors import MissingPart
from chaoskit.model.undo import JSON

__all__ = ["Where", "find_engine"]


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """An engine, and the files that TLS to it takes."""

    url: str
    tls: bool = False
    ca: str = ""
    """File of who signed the engine's certificate; empty for this machine's own authorities."""
    cert: str = ""
    key: str = ""
    """Files of our own certificate; empty where the engine asks for none."""
    verify: bool = True

    @property
    def written(self) -> JSON:
        """It in a journal: whoever recovers may have another environment."""
        written: JSON = msgspec.to_builtins(self)
        return written if self.tls else self.url

    @classmethod
    def read(cls, written: JSON) -> Where:
        """What `written` wrote, or a URL."""
        return cls(url=written) if isinstance(written, str) else msgspec.convert(written, cls)


def find_engine(env: Mapping[str, str], home: Path) -> Where:
    """Raises MissingPart where the context that was chosen is not there."""
    if host := env.get("DOCKER_HOST"):
        return _with_tls(host, env, home)
    if name := _context(env, home):
        return _of_context(name, _config(env, home) / "contexts")
    runtime = env.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    places = (
        "/var/run/docker.sock",
        f"{runtime}/docker.sock",
        f"{home}/.docker/run/docker.sock",
        f"{runtime}/podman/podman.sock",
        "/run/podman/podman.sock",
    )
    found = next((place for place in places if Path(place).exists()), places[0])
    return Where(url=f"unix://{found}")


def _with_tls(host: str, env: Mapping[str, str], home: Path) -> Where:
    """What DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say of DOCKER_HOST."""
    folder, verify = env.get("DOCKER_CERT_PATH", ""), bool(env.get("DOCKER_TLS_VERIFY"))
    if not (folder or verify):
        return Where(url=host)
    files = Path(folder).absolute() if folder else _config(env, home)
    ca, cert, key = (str(files / f"{name}.pem") for name in ("ca", "cert", "key"))
    return Where(url=host, tls=True, ca=ca, cert=cert, key=key, verify=verify)


def _config(env: Mapping[str, str], home: Path) -> Path:
    return Path(env["DOCKER_CONFIG"]).absolute() if env.get("DOCKER_CONFIG") else home / ".docker"


def _context(env: Mapping[str, str], home: Path) -> str:
    """Name of the context that the user has chosen; empty for the default one."""
    name = env.get("DOCKER_CONTEXT", "")
    if not name:
        try:
            file = _config(env, home) / "config.json"
            name = str(msgspec.json.decode(file.read_bytes(), type=dict[str, Any]).get("currentContext", ""))
        except (OSError, msgspec.DecodeError):  # there is none, or none that Docker could read either
            return ""
    return "" if name == "default" else name


class _Endpoint(msgspec.Struct):
    host: str = msgspec.field(name="Host")
    unverified: bool = msgspec.field(name="SkipTLSVerify", default=False)


class _Meta(msgspec.Struct):
    endpoints: dict[str, _Endpoint] = msgspec.field(name="Endpoints")


def _of_context(name: str, contexts: Path) -> Where:
    """As `docker context create` lays them down: everything of one lies in folders called by the hash of its name."""
    folder = hashlib.sha256(name.encode()).hexdigest()
    try:
        meta = msgspec.json.decode((contexts / "meta" / folder / "meta.json").read_bytes(), type=_Meta)
        endpoint = meta.endpoints["docker"]
    except (OSError, msgspec.DecodeError, KeyError) as error:
        raise MissingPart(f"there is no Docker context {name!r}", hint="`docker context ls` lists them") from error
    files = {one: contexts / "tls" / folder / "docker" / f"{one}.pem" for one in ("ca", "cert", "key")}
    there = {one: str(file) for one, file in files.items() if file.exists()}
    tls = bool(there) or endpoint.unverified
    return Where(url=endpoint.host, tls=tls, verify=not endpoint.unverified, **there)
