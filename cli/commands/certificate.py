"""`certificate`: approves or denies certificate signing requests."""

from __future__ import annotations

from typing import Any

from cli.env import Env
from cli.errors import ApiError, CliError, raise_all
from cli.framework import command as declare
from cli.framework import flag, group
from cli.human import now
from cli.resources import Target, fetch_all, resolve
from cli.writing import Writer, each, filename_options, output_option

command = group("certificate", help="Modify certificate resources.")


def _verb(name: str, condition: str, done: str, about: str) -> None:
    @declare(name, usage="(-f FILENAME | NAME)", help=about, group=command)
    @filename_options
    @flag("--force", help="Update the CSR even if it is already approved or denied.")
    @output_option
    async def run(env: Env, args: tuple[str, ...], **params: Any) -> None:
        if not args and not params["filename"]:
            raise CliError("one or more CSRs must be specified as <name> or -f <filename>")
        writer = Writer(env, output=params["output"], manager="kubectl")
        words = () if params["filename"] else ("certificatesigningrequests", *args)
        targets, problems = await fetch_all(
            env, await resolve(env, words, filenames=params["filename"], recursive=params["recursive"])
        )

        async def one(target: Target) -> None:
            for attempt in range(10):
                live = await env.client.get(target.path)
                status = live.setdefault("status", {})
                have = status.setdefault("conditions", [])
                other = "Denied" if condition == "Approved" else "Approved"
                if any(item.get("type") == other for item in have):
                    raise CliError(f'certificate signing request "{target.name}" is already {other.lower()}')
                if any(item.get("type") == condition for item in have) and not params["force"]:
                    break
                status["conditions"] = [item for item in have if item.get("type") != condition] + [
                    {
                        "type": condition,
                        "status": "True",
                        "reason": f"Kubectl{'Approve' if condition == 'Approved' else 'Deny'}",
                        "message": f"This CSR was {done} by kubectl certificate {name}.",
                        "lastUpdateTime": now().strftime("%Y-%m-%dT%H:%M:%SZ"),
                    }
                ]
                try:
                    live = await writer.replace(target, live, subresource="approval")
                    break
                except ApiError as problem:
                    if not problem.is_conflict or attempt == 9:
                        raise
            writer.report(target.mapping, live, done)

        await each(targets, one)
        raise_all(problems)


_verb("approve", "Approved", "approved", "Approve a certificate signing request.")
_verb("deny", "Denied", "denied", "Deny a certificate signing request.")
