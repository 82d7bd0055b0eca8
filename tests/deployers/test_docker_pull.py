"""What is said of an image that is pulled, from what engines tell line by line."""

from __future__ import annotations

from collections.abc import Iterator

from chaoskit.deployers.docker_pull import Pulling
from chaoskit.testing import FakeClock


def told() -> Iterator[dict[str, object]]:
    """As Docker pulls three layers, one of which it has; a second passes at each line."""
    yield {"status": "Pulling from library/postgres", "id": "18"}
    yield {"status": "Already exists", "progressDetail": {}, "id": "c3"}
    yield {"status": "Pulling fs layer", "progressDetail": {}, "id": "a1"}
    yield {"status": "Pulling fs layer", "progressDetail": {}, "id": "b2"}
    for part in range(5):
        yield {"status": "Downloading", "progressDetail": {"current": part * 10**7, "total": 4 * 10**7}, "id": "a1"}
    yield {"status": "Downloading", "progressDetail": {"current": 10**7, "total": 2 * 10**7}, "id": "b2"}
    yield {"status": "Download complete", "progressDetail": {}, "id": "b2"}
    for _ in range(10):
        yield {"status": "Extracting", "progressDetail": {"current": 1, "units": "s"}, "id": "a1"}
    yield {"status": "Pull complete", "progressDetail": {}, "id": "a1"}
    yield {"status": "Pull complete", "progressDetail": {}, "id": "b2"}
    yield {"status": "Status: Downloaded newer image for postgres:18"}


def test_layers_are_summed_up_now_and_then_and_never_the_same_twice() -> None:
    clock = FakeClock()
    pulling = Pulling(clock)
    said = []
    for line in told():
        clock.sleep(1.0)
        said.append(pulling.heard(line))
    assert [one for one in said if one] == [
        "1 of 1 layers, nothing loaded yet",
        "1 of 3 layers, nothing loaded yet",
        "1 of 3 layers, 10 of more than 40 MB",
        "1 of 3 layers, 30 of more than 40 MB",
        "1 of 3 layers, 50 of 60 MB",
        "1 of 3 layers, 60 of 60 MB",
        "2 of 3 layers, 60 of 60 MB",
        "Status: Downloaded newer image for postgres:18",
    ]


def test_a_pull_that_is_over_in_a_moment_says_only_how_it_ended() -> None:
    clock = FakeClock()
    pulling = Pulling(clock)
    assert [one for line in told() if (one := pulling.heard(line))] == [
        "Status: Downloaded newer image for postgres:18"
    ]
