"""Command-line options: upstream's flag names, each also an environment variable `PYKUBE_<OPTION>`."""

from __future__ import annotations

from typing import Any

import click

from api import duration


class _Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A Go duration (`40s`, `5m`, `1h30m`); the value is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return float(duration.parse(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = _Duration()
BOOL = click.BOOL


def option(flag: str, *, help: str, default: Any = None, type: Any = None, required: bool = False) -> click.Option:
    """One option. A boolean one is written `--flag`, `--flag=true` or `--flag=false`, as with upstream's flags."""
    attributes: dict[str, Any] = {"help": help, "default": default, "required": required, "type": type}
    if type is BOOL:
        attributes |= {"is_flag": False, "flag_value": True}
    return click.Option([flag], show_default=default is not None, show_envvar=True, **attributes)


def client_options() -> list[click.Option]:
    """How a component reaches the apiserver, and as whom."""
    return [
        option("--server", required=True, help="host:port of the apiserver's gRPC face; several, comma-separated"),
        option("--ca-file", required=True, help="certificates of the CA that signed the apiserver's certificate"),
        option("--cert-file", required=True, help="client certificate: who this component is"),
        option("--key-file", required=True, help="key of the client certificate"),
    ]


def leader_options(lease: str) -> list[click.Option]:
    """Of several replicas one acts: upstream's flags. Each duration has to be longer than the next."""
    return [
        option("--leader-elect", default=True, type=BOOL, help=f"act only while holding the {lease} Lease"),
        option(
            "--leader-elect-lease-duration",
            default="15s",
            type=DURATION,
            help="how long others leave a Lease alone that nobody renews",
        ),
        option(
            "--leader-elect-renew-deadline",
            default="10s",
            type=DURATION,
            help="when a leader that cannot renew its Lease stops acting",
        ),
        option(
            "--leader-elect-retry-period",
            default="2s",
            type=DURATION,
            help="time between renewals, and between looks at somebody else's Lease",
        ),
    ]


def common_options(health_port: int) -> list[click.Option]:
    """What every process understands."""
    return [
        option(
            "--log-level",
            default="info",
            type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
            help="the least severe messages that are logged",
        ),
        option(
            "--log-format", default="text", type=click.Choice(["text", "json"]), help="klog-like lines or JSON objects"
        ),
        option(
            "--health-address",
            default=f"0.0.0.0:{health_port}",
            help="host:port that serves /healthz, /readyz and /metrics over HTTP; empty: none",
        ),
    ]
