"""`version`: this client's version and the server's."""

from __future__ import annotations

import platform
from importlib import metadata

from cli.env import Env
from cli.errors import CliError, Object
from cli.framework import command as declare
from cli.framework import flag, option


def client_version() -> str:
    try:
        return f"v{metadata.version('pykube')}"
    except metadata.PackageNotFoundError:
        return "v0.1.0"


@declare("version", usage="[flags]", help="Print the client and server version information for the current context.")
@flag("--client", help="If true, shows client version only (no server required).")
@option("-o", "--output", help="One of 'yaml' or 'json'.")
async def command(env: Env, args: tuple[str, ...], client: bool, output: str) -> None:
    if args:
        raise CliError(f"extra arguments: [{' '.join(args)}]")
    if output not in ("", "json", "yaml"):
        raise CliError("--output must be 'yaml' or 'json'")
    info: Object = {
        "clientVersion": {
            "gitVersion": client_version(),
            "goVersion": "",
            "compiler": platform.python_implementation().lower(),
            "platform": f"{platform.system().lower()}/{platform.machine()}",
            "pythonVersion": platform.python_version(),
        }
    }
    info["clientVersion"].pop("goVersion")
    problem: Exception | None = None
    if not client:
        try:
            info["serverVersion"] = await env.client.get("/version")
        except Exception as failure:
            problem = failure
    if output:
        import json

        from cli.printers.yaml import to_yaml

        env.out(json.dumps(info, indent=2) if output == "json" else to_yaml(info))
    else:
        env.out(f"Client Version: {info['clientVersion']['gitVersion']}")
        if "serverVersion" in info:
            env.out(f"Server Version: {info['serverVersion'].get('gitVersion')}")
    if problem is not None:
        raise problem
