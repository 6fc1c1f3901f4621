"""`annotate`: sets and removes annotations."""

from __future__ import annotations

from typing import Any

from cli.env import Env
from cli.framework import command as declare
from cli.metadata_edit import metadata_options, run


@declare(
    "annotate",
    usage="[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
    help="Update the annotations on one or more resources.",
    examples="""
    # Update pod 'foo' with the annotation 'description' and the value 'my frontend'
    kubectl annotate pods foo description='my frontend'

    # Remove the annotation 'description' from pod 'foo'
    kubectl annotate pods foo description-
    """,
)
@metadata_options
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    await run(env, args, "annotations", params)
