"""What an engine tells of each layer of an image that it pulls, summed up for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["Pulling"]

_EVERY = 2.0
"""Seconds between two lines at least."""
_HERE = ("Pull complete", "Already exists")
_LOADED = ("Verifying Checksum", "Download complete", "Extracting", *_HERE)


class Pulling:
    """One pull. Engines tell the size of a layer only once they load it, a few at a time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._layers: dict[str, str] = {}
        """What was told of each last."""
        self._got: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._said = ""
        self._next = clock() + _EVERY

    def heard(self, line: Mapping[str, object]) -> str:
        """What is worth saying after one more line of the engine's; mostly nothing (empty)."""
        status, layer, detail = str(line.get("status", "")), line.get("id"), line.get("progressDetail")
        if layer is None:
            return status
        if status.startswith("Pulling from"):  # of the image's own tag
            return ""
        layer = str(layer)
        self._layers[layer] = status
        if status == "Downloading" and isinstance(detail, Mapping) and "current" in detail:
            self._got[layer] = int(detail["current"])
            self._sizes[layer] = max(int(detail.get("total", 0)), self._got[layer])
        elif status in _LOADED:
            self._got[layer] = self._sizes.get(layer, 0)
        text = self._text()
        if text == self._said or self._clock() < self._next:
            return ""
        self._said, self._next = text, self._clock() + _EVERY
        return text

    def _text(self) -> str:
        ready = sum(status in _HERE for status in self._layers.values())
        unknown = any(status not in _LOADED and layer not in self._sizes for layer, status in self._layers.items())
        got, size = sum(self._got.values()) / 1e6, sum(self._sizes.values()) / 1e6
        loaded = f"{got:.0f} of {'more than ' * unknown}{size:.0f} MB" if self._sizes else "nothing loaded yet"
        return f"{ready} of {len(self._layers)} layers, {loaded}"
