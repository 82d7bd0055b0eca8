"""Undoes what was put on proxies, from the journal's arguments alone: toxics, closed listeners, proxies elsewhere.

A server of ours that is gone took everything with it. Somebody else's that does not answer may still hold it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

from chaoskit.errors import ProxyError, UndoError
from chaoskit.interfaces import System, UndoOwner
from chaoskit.model.undo import JSON, Undo
from chaoskit.proxy.client import Gone, NotThere, Toxiproxy

__all__ = [
    "DeleteProxy",
    "EnableProxy",
    "Place",
    "RemoveContainer",
    "RemoveToxics",
    "container_undo",
    "delete_undo",
    "enabled_undo",
    "toxics_undo",
]


class Place:
    """A proxy on one server. `ours` servers are processes of the run."""

    __slots__ = ("ours", "proxy", "url")

    def __init__(self, url: str, proxy: str, *, ours: bool) -> None:
        self.url = url
        self.proxy = proxy
        self.ours = ours

    @property
    def shown(self) -> str:
        """The URL as people may see it: without the token that may stand in it."""
        return Toxiproxy(self.url).url

    def to_json(self) -> JSON:
        return {"url": self.url, "proxy": self.proxy, "ours": self.ours}

    @classmethod
    def all_of(cls, undo: Undo) -> list[Place]:
        places = undo.args["places"]
        assert isinstance(places, list)
        return [
            cls(str(place["url"]), str(place["proxy"]), ours=bool(place["ours"]))
            for place in places
            if isinstance(place, dict)
        ]


def _everywhere(undo: Undo, act: Callable[[Toxiproxy, Place], None]) -> None:
    """Act on every place, and raise afterwards where one did not let us."""
    left: list[str] = []
    for place in Place.all_of(undo):
        try:
            act(Toxiproxy(place.url), place)
        except NotThere:
            pass  # what went with its proxy is out
        except Gone as error:
            if not place.ours:
                left.append(error.message)
        except ProxyError as error:
            left.append(error.message)
    if left:
        raise UndoError("; ".join(left), hint=undo.says)


class RemoveToxics(UndoOwner):
    """Takes toxics out by name."""

    kind = "proxy.toxic"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:  # noqa: ARG003 - the servers are asked directly
        names = undo.args["toxics"]
        assert isinstance(names, list)

        def act(server: Toxiproxy, place: Place) -> None:
            for name in names:
                server.remove_toxic(place.proxy, str(name))

        _everywhere(undo, act)


class EnableProxy(UndoOwner):
    """Opens listeners again; the innermost first, so that a caller never meets half a way. In a live run, one that
    another fault holds closed stays so until that is out too."""

    kind = "proxy.enabled"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        if system is not None:
            edge = next((one for one in system.topology.edges if one.name == undo.args["edge"]), None)
            if edge is not None:
                with suppress(ProxyError):  # asked again below, where a server of ours that is gone is no trouble
                    system.proxy(edge).set_enabled(True, by=str(undo.args["by"]))
                    return
        _everywhere(undo, lambda server, place: server.set_enabled(place.proxy, True))


class DeleteProxy(UndoOwner):
    """Takes away proxies that a run made on somebody else's Toxiproxy."""

    kind = "proxy.delete"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:  # noqa: ARG003 - the servers are asked directly
        def act(server: Toxiproxy, place: Place) -> None:
            server.delete(place.proxy)

        _everywhere(undo, act)


class RemoveContainer(UndoOwner):
    """Takes away the container that a real Toxiproxy ran in."""

    kind = "proxy.container"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:  # noqa: ARG003 - Docker is asked directly
        try:
            ran = subprocess.run(
                ["docker", "rm", "--force", str(undo.args["name"])],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UndoError(f"docker rm failed: {error}", hint=undo.says) from None
        if ran.returncode and "no such container" not in ran.stderr.lower():
            raise UndoError(f"docker rm failed: {ran.stderr.strip()}", hint=undo.says)


def container_undo(name: str) -> Undo:
    """Of the container of a real Toxiproxy."""
    return Undo(
        id=f"proxy.container {name}",
        owner=RemoveContainer.kind,
        args={"name": name},
        says=f"remove the container: docker rm --force {name}",
    )


def toxics_undo(edge: str, places: Sequence[Place], names: Sequence[str]) -> Undo:
    """Of toxics by name, wherever on the edge they are."""
    by_hand = "; ".join(
        f"curl -X DELETE '{place.shown}/proxies/{place.proxy}/toxics/{name}'" for place in places for name in names
    )
    return Undo(
        id=f"proxy.toxic {edge} {' '.join(names)}",
        owner=RemoveToxics.kind,
        args={"places": [place.to_json() for place in places], "toxics": list(names)},
        says=f"remove toxics {', '.join(names)} from {edge}: {by_hand}",
    )


def enabled_undo(edge: str, places: Sequence[Place], by: str) -> Undo:
    """Of a listener that `by` closed."""
    by_hand = "; ".join(f"curl -d '{{\"enabled\":true}}' '{place.shown}/proxies/{place.proxy}'" for place in places)
    return Undo(
        id=f"proxy.enabled {edge}",
        owner=EnableProxy.kind,
        args={"places": [place.to_json() for place in places], "edge": edge, "by": by},
        says=f"open the listener of {edge} again: {by_hand}",
    )


def delete_undo(edge: str, place: Place) -> Undo:
    """Of a proxy on somebody else's Toxiproxy."""
    return Undo(
        id=f"proxy.delete {edge} {place.proxy}",
        owner=DeleteProxy.kind,
        args={"places": [place.to_json()]},
        says=f"delete the proxy of {edge}: curl -X DELETE '{place.shown}/proxies/{place.proxy}'",
    )
