"""Runs and histories made by hand, for the tests of the reporters and the pictures in the docs."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict

from chaoskit.model.histogram import Histogram
from chaoskit.model.history import FaultSpan, History, Phase, SteadyBound
from chaoskit.model.observation import Event, LoadSlot, MetricPoint, Observation, ProbeResult, TapSlot
from chaoskit.model.run import Run
from chaoskit.model.topology import Edge, Service, Topology
from chaoskit.model.verdict import Finding, Gate, Verdict

SHOP = Topology(
    target="shop",
    entry="gateway",
    services=(
        Service(name="gateway", ready="/health/ready"),
        Service(name="orders", ready="/health/ready", live="/health/live"),
        Service(name="payments", replicas=2, ready="/health/ready"),
        Service(name="inventory", ready="/health/ready"),
        Service(name="postgres", provides="postgres"),
        Service(name="redis", provides="redis"),
    ),
    edges=(
        Edge("load", "gateway"),
        Edge("gateway", "orders"),
        Edge("gateway", "inventory"),
        Edge("orders", "payments.1"),
        Edge("orders", "payments.2"),
        Edge("orders", "inventory"),
        Edge("orders", "postgres", "postgres"),
        Edge("orders", "redis", "redis"),
        Edge("inventory", "postgres", "postgres"),
    ),
)

WINDOWS = {
    Phase.WARMUP: [(0.0, 2.0)],
    Phase.BASELINE: [(2.0, 8.0)],
    Phase.FAULT: [(8.0, 18.0)],
    Phase.RECOVERY: [(18.0, 24.0)],
}

SOURCE = """title: Checkout stays usable when the payment service becomes 50% slower
target: shop
load:
  rate: 80/s
  requests:
    - {name: checkout, method: POST, path: /checkout, json: {sku: A1, quantity: 1}, timeout: 2s}
phases: {warmup: 2s, baseline: 6s, fault: 10s, recovery: 6s}
blast_radius: [orders->payments]
faults:
  - {kind: latency, on: orders->payments, add: +50%}
hypotheses:
  - {kind: latency, of: checkout, p95: 400ms, holds_in: [fault]}
"""


def load_slots(requests: list[tuple[str, float, float | None, str]], *, service_share: float = 0.95) -> list[LoadSlot]:
    """Slots of (name, planned, response time or None for unfinished, cause or empty for a success)."""
    grouped: dict[tuple[str, float, float | None], list[tuple[float | None, str]]] = defaultdict(list)
    for name, planned, took, cause in requests:
        ended = None if took is None else math.floor((planned + took) * 10 + 1e-6) / 10
        grouped[name, math.floor(planned * 10 + 1e-6) / 10, ended].append((took, cause))
    slots = []
    for (name, at, ended), members in grouped.items():
        response, failed, service, lag = Histogram(), Histogram(), Histogram(), Histogram()
        causes: Counter[str] = Counter(cause for _, cause in members if cause and cause != "dropped")
        for took, cause in members:
            if took is None or cause == "dropped":
                continue
            (failed if cause else response).record(took)
            service.record(took * service_share)
            lag.record(took * (1 - service_share) * 0.01)
        dropped = sum(cause == "dropped" for _, cause in members)
        slots.append(
            LoadSlot(
                at=at,
                source="worker.1",
                name=name,
                ended=ended,
                ok=response.total,
                failed=failed.total,
                dropped=dropped,
                unfinished=sum(took is None for took, _ in members),
                response=response.to_bytes(),
                response_failed=failed.to_bytes(),
                service=service.to_bytes(),
                send_lag=lag.to_bytes(),
                causes=dict(causes),
                statuses={"200": response.total} if response.total else {},
            )
        )
    return slots


def shop_history(*, seed: int = 7, broken: bool = False, edge: str = "orders->payments") -> History:
    """A run of 24 s at 80/s in which payments become slower from 8 s to 18 s; with `broken`, checkout times out."""
    roll = random.Random(seed)
    requests: list[tuple[str, float, float | None, str]] = []
    for i in range(24 * 80):
        at = i / 80
        name = "checkout" if i % 4 else "catalogue"
        base = 0.11 if name == "checkout" else 0.012
        took: float = base * roll.lognormvariate(0, 0.18)
        cause = ""
        if name == "checkout" and 8 <= at < 18:
            took += 0.05 * roll.lognormvariate(0, 0.1)
            if broken:
                took += max(0.0, min(at - 8.5, 6)) * 0.33 * roll.uniform(0.7, 1.2)
                if took > 2:
                    took, cause = 2.0, "timeout"
                elif roll.random() < 0.06:
                    took, cause = 0.01, "status 503"
        requests.append((name, at, took, cause))
    seen: list[Observation] = [*load_slots(requests)]
    for t in range(96):
        at = t / 4
        for replica, check in (
            ("gateway", "ready"),
            ("orders", "ready"),
            ("orders", "live"),
            ("payments.1", "ready"),
            ("payments.2", "ready"),
        ):
            bad = broken and replica == "orders" and check == "ready" and 11.5 <= at < 19
            seen.append(
                ProbeResult(
                    at=at,
                    source="probe.health",
                    name=f"{replica}/{check}",
                    ok=not bad,
                    status=503 if bad else 200,
                    took=0.002,
                    because="orders says 503" if bad else "",
                )
            )
    for t in range(240):
        at = t / 10
        slow = 8 <= at < 18
        for edge_ in SHOP.edges:
            took = Histogram()
            base = {"gateway": 0.11, "orders": 0.105, "payments.1": 0.1, "payments.2": 0.1}.get(edge_.callee, 0.004)
            if slow and edge_.callee.startswith("payments"):
                base *= 1.5
            n = 3 if edge_.callee.startswith("payments") else 6
            for _ in range(n):
                took.record(base * roll.lognormvariate(0, 0.05))
            bad = broken and slow and edge_.callee.startswith("payments") and at > 11
            seen.append(
                TapSlot(
                    at=at,
                    source="tap",
                    edge=edge_.name,
                    started=n,
                    ended=n,
                    took=took.to_bytes(),
                    connections=12,
                    statuses={"503": 1, "200": n - 1} if bad else {"200": n},
                    outcomes={"answered": n - 1, "cut": 1} if bad else {"answered": n},
                )
            )
    seen += [MetricPoint(at=float(t), source="worker.1", name="generator_cpu", value=0.21) for t in range(24)]
    seen += [
        Event(at=0.0, source="runner", kind="phase", text="warmup"),
        Event(at=2.0, source="runner", kind="phase", text="baseline"),
        Event(at=8.0, source="runner", kind="phase", text="fault"),
        Event(at=8.0, source="runner", kind="injected", text="latency +50 ms on orders->payments"),
        Event(at=18.0, source="runner", kind="undone", text="latency +50 ms on orders->payments"),
    ]
    fault = FaultSpan(
        id="latency",
        kind="latency",
        on=(edge,),
        edges=("orders->payments.1", "orders->payments.2"),
        says="latency +50 ms",
        planned=(8.0, 18.0),
        injected=8.0,
        in_force=8.02,
        undone=18.01,
    )
    return History(seen, SHOP, dict(WINDOWS), [fault], [SteadyBound(measure="error_rate", most=0.01)])


def shop_run(history: History, *, verdict: Verdict = Verdict.SUPPORTED, **changes: object) -> Run:
    """A run over `shop_history` with one latency finding of the verdict asked for."""
    fine = verdict is Verdict.SUPPORTED
    gates = [
        Gate(
            gate="steady state",
            open=True,
            because="baseline held error_rate ≤ 1% (measured 0%) and p95 ≤ 250 ms (measured 152 ms)",
            evidence=((2.0, 8.0),),
        ),
        Gate(
            gate="generator",
            open=True,
            because="p99 of the send lag was 0.4 ms in baseline, 0.5 ms in fault, 0.4 ms in recovery",
        ),
        Gate(
            gate="trace",
            open=True,
            because="570 of 570 calls crossed the delayed edge: 101 ms in baseline, 152 ms in fault",
            evidence=((8.0, 18.0),),
        ),
        Gate(gate="parts alive", open=True, because="load, proxy, probes and every service that was to stay did"),
        Gate(gate="samples", open=True, because="requests: 480 in baseline, 800 in fault, 480 in recovery"),
        Gate(
            gate="clock", open=True, because="every stamp is of this host's monotonic clock, or within one slot of it"
        ),
    ]
    if verdict is Verdict.INCONCLUSIVE:
        gates[2] = Gate(
            gate="trace",
            open=False,
            because="latency +50 ms did not bite: no call crossed orders->payments while it was in",
            evidence=((8.0, 18.0),),
        )
    findings = [
        Finding(
            hypothesis="latency",
            kind="latency",
            verdict=Verdict.SUPPORTED if fine else Verdict.REFUTED,
            because="p95 of checkout was 214 ms in fault (between 206 ms and 223 ms), within 400 ms"
            if fine
            else "p95 of checkout was 2 s in fault, above 400 ms: it broke 1.9 s after the fault went in, until 18.4 s",
            expected="p95 of checkout ≤ 400 ms",
            measured=0.214 if fine else 2.0,
            unit="s",
            bound=0.4,
            interval=(0.206, 0.223) if fine else (1.9, 2.0),
            phase="fault",
            samples=600,
            evidence=((8.0, 18.0),) if fine else ((9.9, 18.0),),
            lane="checkout",
        ),
        Finding(
            hypothesis="breaker",
            kind="breaker",
            verdict=Verdict.SUPPORTED,
            because="the breaker of orders->payments stayed closed: calls kept crossing at 57/s",
            expected="stays closed",
            phase="fault",
            samples=570,
            evidence=((8.0, 24.0),),
            lane="orders->payments",
        ),
        Finding(
            hypothesis="recovery",
            kind="recovery",
            verdict=Verdict.SUPPORTED,
            because="the steady state held again 0.4 s after the fault was out, within 3 s",
            expected="within 3 s",
            measured=0.4,
            unit="s",
            phase="recovery",
            samples=480,
            evidence=((18.0, 18.4),),
        ),
    ]
    fields: dict[str, object] = {
        "id": "2026-11-22T17-30-12Z-protected",
        "title": "Checkout stays usable when the payment service becomes 50% slower",
        "experiment": "experiments/payments-50-percent-slower.yaml",
        "variant": "protected" if fine else "unprotected",
        "source": SOURCE,
        "target": "shop",
        "topology": SHOP,
        "seed": 7,
        "started": 1_795_368_612.0,
        "finished": 1_795_368_638.4,
        "windows": {phase.value: spans for phase, spans in WINDOWS.items()},
        "faults": list(history.faults),
        "gates": gates,
        "findings": findings,
        "verdict": verdict,
        "expected": verdict,
        "breaks": [] if fine else ["latency"],
        "as_expected": True,
        "environment": {
            "chaoskit": "0.1.0",
            "python": "3.11.7",
            "locust": "2.47.0",
            "system": "Linux 6.1 x86_64",
            "cores": "2",
            "command": "chaoskit run experiments/",
        },
        "folder": "reports/payments-50-percent-slower/2026-11-22T17-30-12Z-protected",
        "notes": ["the proxy served is the embedded one"],
    }
    fields.update(changes)
    return Run(**fields)  # type: ignore[arg-type]  # named fields, checked by msgspec's own constructor
