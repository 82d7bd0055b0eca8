"""The safety lever: a file in the user's state folder that ends every run and forbids new ones until it is removed.

Anybody may put it there by hand, with nothing in it; `chaoskit stop --all` writes who, when and why.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from chaoskit.errors import CouldNotRun
from chaoskit.journal import state_folder

__all__ = ["Pulled", "lever_file", "lift", "pull", "pulled", "refuse_if_pulled"]

_MOST = 4096
"""Bytes of the file that are read: it may be anybody's."""


def lever_file() -> Path:
    """Where the lever is while it is pulled: `stopped` in the state folder."""
    return state_folder() / "stopped"


@dataclass(frozen=True)
class Pulled:
    """What the file says; empty texts where somebody put it there by hand."""

    path: Path
    who: str = ""
    when: str = ""
    because: str = ""

    def __str__(self) -> str:
        """`pulled by ada@build-3 at 2026-11-22 21:40:03: payments are down`."""
        said = "pulled" + (f" by {self.who}" if self.who else "") + (f" at {self.when}" if self.when else "")
        return said + (f": {self.because}" if self.because else "")

    @property
    def by_hand(self) -> str:
        """The command that lifts it without us."""
        return f"rm {shlex.quote(str(self.path))}"


def pulled() -> Pulled | None:
    """The lever, where it is pulled. A file that cannot be read forbids runs as well as any."""
    path = lever_file()
    try:
        when = path.lstat().st_mtime
    except FileNotFoundError:
        return None
    except OSError:
        return Pulled(path)
    fields = {"when": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))}
    with contextlib.suppress(OSError), path.open("rb") as file:
        for line in file.read(_MOST).decode("utf-8", "replace").splitlines():
            key, colon, value = line.partition(":")
            if colon and key.strip() in ("who", "when", "because"):
                fields[key.strip()] = "".join(letter for letter in value.strip() if letter.isprintable())
    return Pulled(path, **fields)


def pull(because: str = "") -> Pulled:
    """Put the lever there; one that is pulled already keeps saying what it says. Raises CouldNotRun."""
    path = lever_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            when = time.strftime("%Y-%m-%d %H:%M:%S")
            file.write(f"who: {_who()}\nwhen: {when}\nbecause: {' '.join(because.split())}\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise CouldNotRun(f"{path} cannot be written: {error.strerror}", hint="runs can still start") from error
    return pulled() or Pulled(path)  # nobody may have lifted it in this very moment


def lift() -> Pulled | None:
    """Remove it; what it said, None where it was not pulled. Raises CouldNotRun."""
    found = pulled()
    if found is not None:
        try:
            found.path.unlink(missing_ok=True)
        except OSError as error:
            raise CouldNotRun(f"{found.path} cannot be removed: {error.strerror}") from error
    return found


def refuse_if_pulled() -> None:
    """Raises CouldNotRun while the lever is pulled: before anything of a run exists."""
    found = pulled()
    if found is not None:
        raise CouldNotRun(
            f"nothing may start: the safety lever is {found}", hint=f"chaoskit stop --lift (or: {found.by_hand})"
        )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user in the password file: a container
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"
