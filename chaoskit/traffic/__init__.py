"""What an experiment's `load:` section says.

load       LoadSpec: how much of what, when
requests   RequestSpec, Feed: what is sent, and the values in it
answers    Check, Match, Capture, Tell: what a good answer is, and what is kept of it
levels     Stage, Spike, Think, Leg: the level over time
"""

from __future__ import annotations

from chaoskit.traffic.answers import Capture, Check, Match, Tell
from chaoskit.traffic.levels import Leg, Spike, Stage, Think
from chaoskit.traffic.load import LoadSpec
from chaoskit.traffic.requests import Feed, RequestSpec
from chaoskit.traffic.texts import parse_json_path, placeholders

__all__ = [
    "Capture",
    "Check",
    "Feed",
    "Leg",
    "LoadSpec",
    "Match",
    "RequestSpec",
    "Spike",
    "Stage",
    "Tell",
    "Think",
    "parse_json_path",
    "placeholders",
]
