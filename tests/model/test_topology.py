"""Edges and services are selected by what people write."""

import pytest

from chaoskit.testing import SHOP_EDGES, topology_of

SHOP = topology_of(*SHOP_EDGES, target="shop")


def test_an_edge_between_services_means_all_its_replicas() -> None:
    names = [edge.name for edge in SHOP.select_edges("orders->payments")]
    assert names == ["orders->payments.1", "orders->payments.2"]
    assert [edge.name for edge in SHOP.select_edges("orders->payments.2")] == ["orders->payments.2"]


def test_a_wrong_edge_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match="did you mean 'orders->payments'"):
        SHOP.select_edges("order->payments")
    with pytest.raises(ValueError, match="no edge 'orders'"):
        SHOP.select_edges("orders")


def test_a_wrong_service_is_refused_with_a_suggestion() -> None:
    assert SHOP.select_replicas("payments") == ["payments.1", "payments.2"]
    with pytest.raises(ValueError, match=r"did you mean 'payments"):
        SHOP.select_replicas("payment")


def test_bystanders_are_neither_at_nor_upstream_of_what_is_broken() -> None:
    assert SHOP.bystanders(["orders->payments"]) == {"inventory", "postgres", "redis"}
    assert SHOP.bystanders(["redis"]) == {"payments", "postgres"}
