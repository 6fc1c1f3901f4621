"""`label`: sets and removes labels."""

from __future__ import annotations

from typing import Any

from cli.env import Env
from cli.framework import command as declare
from cli.metadata_edit import metadata_options, run


@declare(
    "label",
    usage="[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
    help="Update the labels on a resource.",
    examples="""
    # Update pod 'foo' with the label 'unhealthy' and the value 'true'
    kubectl label pods foo unhealthy=true

    # Update pod 'foo' with the label 'status', overwriting any existing value
    kubectl label --overwrite pods foo status=unhealthy

    # Remove the label 'bar' from pod 'foo'
    kubectl label pods foo bar-
    """,
)
@metadata_options
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    await run(env, args, "labels", params)
