"""The shipped pairs: the protected variant holds, and its twin breaks the hypothesis that it names.

All of them on the default (embedded proxy, processes); two more on a real Toxiproxy, whose toxics it serves itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import chaoskit as product
from tests.e2e.conftest import Command, document, gone_within
from tests.requires import requires

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
PAIRS = [(path.stem, variant) for path in sorted(EXPERIMENTS.glob("*.yaml")) for variant in product.load(path).variants]


def test_there_are_six_pairs_on_the_shop() -> None:
    on_shop = {stem for stem, _ in PAIRS if product.load(EXPERIMENTS / f"{stem}.yaml").target == "shop"}
    assert len(on_shop) >= 6
    for stem in on_shop:
        variants = product.load(EXPERIMENTS / f"{stem}.yaml").variants
        assert {variants[name].expect.value for name in variants} == {"supported", "refuted"}
        assert all(variant.breaks for variant in variants.values() if variant.expect.value == "refuted")


@pytest.mark.parametrize(("stem", "variant"), PAIRS)
def test_a_pair_comes_out_as_expected(chaoskit: Callable[..., Command], stem: str, variant: str) -> None:
    come_out(chaoskit, stem, variant, proxy="embedded")


@requires("toxiproxy")
@pytest.mark.parametrize("variant", ["protected", "unprotected"])
@pytest.mark.parametrize("stem", ["database-300ms-slower", "payments-black-holed"])
def test_a_pair_comes_out_the_same_on_a_real_toxiproxy(
    chaoskit: Callable[..., Command], stem: str, variant: str
) -> None:
    come_out(chaoskit, stem, variant, proxy="toxiproxy", CHAOSKIT_TOXIPROXY="real")


def come_out(chaoskit: Callable[..., Command], stem: str, variant: str, *more: str, proxy: str, **env: str) -> None:
    """Run one variant and judge what its document says."""
    file = EXPERIMENTS / f"{stem}.yaml"
    command = chaoskit("run", str(file), "--variant", variant, "--json", "--quiet", *more, **env)
    command.wait_for(lambda: bool(command.journals()))
    ids = command.run_ids()
    code, out, err = command.finish(150.0)
    run = document(out)["runs"][0]
    assert run["undo_left"] == []
    gone_within(5.0, ids)
    said = [gate["because"] for gate in run["gates"] if not gate["open"]]
    said += [finding["because"] for finding in run["findings"]]
    assert code == 0, said or err
    assert run["as_expected"], said
    assert run["proxy"].split()[0] == proxy
    broken = {finding["hypothesis"] for finding in run["findings"] if finding["verdict"] == "refuted"}
    expected = product.load(file).variants[variant]
    assert set(expected.breaks) <= broken
