from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.errors import CouldNotRun
from chaoskit.faults.disconnect import Disconnect
from chaoskit.model.undo import Undo
from chaoskit.testing import FakeSystem, HistoryBuilder

FAULT = Disconnect(id="disconnect", on="payments.1")


def usual() -> HistoryBuilder:
    return (
        HistoryBuilder()
        .calls("orders->payments", rate=20, took=0.05)
        .probe("payments/ready")
        .fault("disconnect", on="payments.1")
    )


class Cable:
    """A replica that can be taken out of its network."""

    name = "payments.1"

    def __init__(self) -> None:
        self.connected = True

    def disconnect(self) -> None:
        self.connected = False

    def undo_disconnect(self) -> Undo:
        return Undo(id="fake.disconnect:payments.1", owner="fake.disconnect", args={}, says="plug it in")


def test_it_names_its_undo_before_it_disconnects_that_replica_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, cables = FakeSystem(folder=tmp_path), {"payments.1": Cable(), "payments.2": Cable()}
    monkeypatch.setattr(system, "replica", cables.__getitem__)
    assert [undo.owner for undo in FAULT.undo(system)] == ["fake.disconnect"]
    assert cables["payments.1"].connected
    FAULT.inject(system)
    assert not cables["payments.1"].connected and cables["payments.2"].connected


def test_it_cannot_be_done_to_a_replica_without_a_network_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(CouldNotRun, match=r"disconnect on payments\.1") as caught:
        FAULT.undo(FakeSystem(folder=tmp_path))
    assert "docker" in caught.value.hint


def test_it_bit_where_nothing_reached_the_replica() -> None:
    builder = usual().calls("orders->payments.1", (7.9, 18.0), rate=0)
    trace = FAULT.trace(builder.probe("payments.1/ready", "fault", ok=False, every=1.0).build())
    assert trace.bit
    assert "failed 10 of 10 times" in trace.because


def test_it_did_not_bite_where_the_replica_was_reached_as_before() -> None:
    trace = FAULT.trace(usual().build())
    assert not trace.bit
    assert "payments.1 went on answering" in trace.because
