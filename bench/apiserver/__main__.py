"""Creates, consistent reads, LISTs of many pods, many watchers, memory and start of an API server, as one table.

With --url it measures any Kubernetes-compatible server; without, it starts etcd and an API server of its own.
"""

from __future__ import annotations

import shlex
import ssl

import click
from rich.console import Console
from rich.table import Table

from bench.apiserver.load import Target
from bench.apiserver.local import local
from bench.apiserver.measures import Bench, Row, against, against_local

# Real Kubernetes 1.20 on two cores with its load generator beside it, and what pykube is to reach there.
_FIGURES = {
    "create 1": ("888/s", "1,000/s"),
    "create 16": ("1,940/s", "3,000/s"),
    "create 64": ("2,174/s", "4,000/s"),
    "get 16": ("6,484/s", "8,000/s"),
    "list JSON": ("1.9 to 3.6 s", "0.5 s"),
    "list Table": ("", "0.5 s"),
    "memory idle": ("328 MB", "100 MB"),
    "memory full": ("1,700 MB", "600 MB"),
    "start": ("3.1 s", "1 s"),
    "start full": ("", "1 s"),
}
_WIDTH = 140  # characters


@click.command(help=__doc__)
@click.option("--url", default="", help="a running server; without, one is started")
@click.option("--token", default="", help="bearer token")
@click.option("--cert", default="", help="client certificate (PEM)")
@click.option("--key", default="", help="key of the client certificate (PEM)")
@click.option("--ca", default="", help="CA of the server's certificate; not checked without")
@click.option("--pid", default=0, help="the server's process, if it is on this machine: shows its CPU and memory")
@click.option("--seconds", default=5.0, show_default=True, help="time for each measurement")
@click.option("--pods", default=40_000, show_default=True, help="pods for the LISTs; 0: leave them out")
@click.option("--watchers", default=500, show_default=True, help="0: leave them out")
@click.option("--options", default="", help="further options of the server that is started")
def main(
    url: str,
    token: str,
    cert: str,
    key: str,
    ca: str,
    pid: int,
    seconds: float,
    pods: int,
    watchers: int,
    options: str,
) -> None:
    console = Console()
    console = Console(width=max(console.width, _WIDTH))  # into a file, too

    def say(text: str) -> None:
        console.print(f"  {text}", style="dim", highlight=False)

    if url:
        bench = Bench(Target(url, token, _tls(url, cert, key, ca)), pid=pid, seconds=seconds, say=say)
        against(bench, pods=pods, watching=watchers)
        bench.clean_up()
        show(console, bench.rows, f"API server at {url}")
    else:
        with local(*shlex.split(options)) as server:
            rows = against_local(server, seconds=seconds, pods=pods, watching=watchers, say=say)
        show(console, rows, f"API server started here {options}".strip())


def _tls(url: str, cert: str, key: str, ca: str) -> ssl.SSLContext | None:
    if not url.startswith("https"):
        return None
    context = ssl.create_default_context(cafile=ca or None)
    if not ca:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert:
        context.load_cert_chain(cert, key)
    return context


def show(console: Console, rows: list[Row], title: str) -> None:
    """Print the table."""
    table = Table("measured", "Kubernetes 1.20", "to reach", "here", "server CPU each", "load", title=title)
    for row in rows:
        table.add_row(row.what, *_FIGURES.get(row.figure, ("", "")), row.here, row.cpu, row.load)
    console.print(table)


if __name__ == "__main__":
    main()
