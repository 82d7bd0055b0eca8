"""The shop, put up on real PostgreSQL and Redis: what a user of it meets."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("purgatory", reason="the lab is not installed: pip install chaoskit[lab]")
pytest.importorskip("jwt", reason="the lab is not installed: pip install chaoskit[lab]")

import jwt

from chaoskit.deployers.process import Process
from chaoskit.interfaces import System
from chaoskit.reading import load_target
from chaoskit.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("shop")]

SECRET = "a secret of at least thirty-two bytes"
TARGET = Path(__file__).parents[2] / "targets" / "shop" / "target.yaml"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class Shop:
    """A user with a token."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.url = f"http://{system.entry()}"
        self.token = jwt.encode({"sub": "tester"}, SECRET, algorithm="HS256")

    def ask(self, method: str, path: str, body: object = None, *, token: str | None = None, **headers: str) -> Answer:
        sent = {"Authorization": f"Bearer {self.token if token is None else token}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return Answer(answer.status, dict(answer.headers.items()), json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers.items()), json.loads(error.read()))

    def checkout(self, sku: str = "A1", quantity: int = 1, **headers: str) -> Answer:
        return self.ask("POST", "/checkout", {"sku": sku, "quantity": quantity}, **headers)

    def page(self, replica: str, path: str) -> str:
        address = self.system.replica(replica).address
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAOSKIT_STATE", str(folder / "state"))
        with Stage("test-shop", folder, label="shop", toxiproxy="embedded", seed=1, say=print) as stage:
            env = {"gateway": {"JWT_SECRET": SECRET, "RATE_LIMIT": "200/second"}}
            system = stage.deploy(load_target(str(TARGET), near=None), Process(), env=env, on_entry=lambda _: None)
            yield Shop(system)


def test_an_order_is_placed_paid_and_can_be_read(shop: Shop) -> None:
    placed = shop.checkout()
    assert (placed.status, placed.body["status"]) == (201, "paid")
    assert "X-Degraded" not in placed.headers
    read = shop.ask("GET", f"/orders/{placed.body['order']}")
    assert read.body == {"id": placed.body["order"], "sku": "A1", "quantity": 1, "status": "paid"}


def test_the_same_key_twice_is_one_order(shop: Shop) -> None:
    first = shop.checkout(Idempotency_Key="once")
    again = shop.checkout(Idempotency_Key="once")
    assert first.body == again.body
    assert (first.headers.get("idempotent-replay"), again.headers.get("idempotent-replay")) == (None, "true")


def test_a_declined_card_gives_the_goods_back(shop: Shop) -> None:
    for _ in range(3):  # more goods than there are, were they not given back
        assert shop.checkout("A20", 500_000).status == 402
    assert shop.checkout("A20", 1_000_001).status == 409


def test_a_product_comes_from_the_cache_the_second_time(shop: Shop) -> None:
    reads = [shop.ask("GET", "/catalogue/A7") for _ in range(2)]
    assert [read.headers["x-cache"] for read in reads] == ["miss", "hit"]
    assert reads[0].body == reads[1].body == {"sku": "A7", "name": "Article 7", "price": 700}
    assert shop.ask("GET", "/catalogue/none").status == 404


def test_a_checkout_that_makes_no_sense_is_refused(shop: Shop) -> None:
    assert shop.checkout("A1", 0).status == 422
    assert shop.checkout("no such thing").status == 409


def test_without_a_valid_token_nobody_comes_in(shop: Shop) -> None:
    forged = jwt.encode({"sub": "tester"}, "another secret of thirty-two bytes", algorithm="HS256")
    assert shop.ask("GET", "/catalogue/A1", token=forged).status == 401
    assert shop.ask("GET", "/catalogue/A1", token="").status == 401


def test_every_service_tells_its_health_and_metrics(shop: Shop) -> None:
    for replica in ("gateway", "orders", "payments.1", "payments.2", "inventory"):
        assert json.loads(shop.page(replica, "/health/ready"))["status"] == "ready"
        assert json.loads(shop.page(replica, "/health/live"))["status"] == "alive"
        assert "shop_requests_total" in shop.page(replica, "/metrics")
    assert 'circuit_breaker_state{name="payments",state="closed"} 1.0' in shop.page("orders", "/metrics")


def test_a_caller_above_its_rate_is_told_when_to_come_back(shop: Shop) -> None:
    """The last test: it uses the second's requests up."""
    limited = next(answer for _ in range(2000) if (answer := shop.ask("GET", "/catalogue/A1")).status != 200)
    assert limited.status == 429
    told = {name.lower(): value for name, value in limited.headers.items()}
    assert told["x-ratelimit-limit"] == "200"
    assert told["x-ratelimit-remaining"] == "0"
    assert int(told["retry-after"]) >= 1
