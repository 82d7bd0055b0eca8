"""chaoskit inject: break something in a game day that is up"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaoskit.errors import UsageError

if TYPE_CHECKING:
    from chaoskit.model.undo import JSON

__all__ = ["command"]


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("kind", required=False)
@click.argument("settings", nargs=-1, type=click.UNPROCESSED, metavar="[--KEY VALUE]...")
@click.option("--on", "places", multiple=True, metavar="PLACE", help="Edge or service that it breaks (repeatable).")
@click.option("--for", "lasts", default="30s", show_default=True, metavar="TIME", help="It comes out by itself then.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A setting, as `--KEY VALUE`.")
@click.option("--withdraw", metavar="ID", help="Instead: take this fault out now (`all`: every one).")
@click.option("--run", metavar="RUN", help="Which game day, where several are up: its id, or its target.")
@click.option("--json", "as_json", is_flag=True, help="Print the fault as JSON.")
def command(
    kind: str | None,
    settings: tuple[str, ...],
    places: tuple[str, ...],
    lasts: str,
    pairs: tuple[str, ...],
    withdraw: str | None,
    run: str | None,
    as_json: bool,
) -> None:
    """Break something in the game day that is up; returns when the fault is in force.

    KIND is any kind of fault (`chaoskit list faults`), its settings are those of an experiment's file:

        chaoskit inject latency --on 'orders->payments' --add 200ms --for 30s

    Nothing but what --on names is touched. It comes out when its time is over, whatever happens to whoever asked.
    """
    from chaoskit.cli.common.gameday import chosen
    from chaoskit.lever import refuse_if_pulled

    if withdraw is not None:
        if kind or places or settings or pairs:
            raise UsageError("--withdraw takes a fault out: it goes without what would put one in")
        _withdraw(chosen(run), withdraw, as_json=as_json)
        return
    refuse_if_pulled()
    if not kind or kind.startswith("-"):
        raise UsageError("expected a kind of fault", hint="chaoskit list faults")
    if not places:
        raise UsageError("expected --on: what it breaks", hint="--on 'orders->payments', or --on orders")
    _inject(chosen(run), kind, places, lasts, settings, pairs, as_json=as_json)


def _inject(
    run: str,
    kind: str,
    places: tuple[str, ...],
    lasts: str,
    settings: tuple[str, ...],
    pairs: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    import msgspec

    from chaoskit.cli.common.gameday import settings_of, tell_faults
    from chaoskit.cli.console import Screen
    from chaoskit.control import ask
    from chaoskit.model.units import parse_duration
    from chaoskit.studies.live import FaultNow

    try:
        seconds = parse_duration(lasts)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    fields = settings_of(settings, pairs)
    if odd := {"kind", "on", "at", "lasts"} & fields.keys():
        raise UsageError(f"{min(odd)} is not a setting here", hint="KIND, --on and --for say it")
    fault: dict[str, JSON] = {"kind": kind, "on": places[0] if len(places) == 1 else list(places), **fields}
    answer = ask(run, {"op": "inject", "fault": fault, "lasts": seconds}, patience=60.0)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer["fault"]), indent=1))
    else:
        tell_faults(Screen(), [msgspec.convert(answer["fault"], FaultNow)])


def _withdraw(run: str, which: str, *, as_json: bool) -> None:
    import msgspec

    from chaoskit.cli.common.gameday import tell_faults
    from chaoskit.cli.console import Screen
    from chaoskit.control import ask
    from chaoskit.studies.live import FaultNow

    answer = ask(run, {"op": "withdraw", "id": which}, patience=60.0)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer["faults"]), indent=1))
        return
    faults = msgspec.convert(answer["faults"], list[FaultNow])
    tell_faults(Screen(), faults)
    if not faults:
        click.echo("no fault was in")
