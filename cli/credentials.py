"""Credentials that have to be fetched: token files and exec plugins (client.authentication.k8s.io, KEP-541)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from cli.errors import CliError, Object
from cli.kubeconfig import RestConfig

_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


def resolve(config: RestConfig) -> RestConfig:
    """A copy of the configuration in which every credential is a value. Runs the exec plugin if there is one."""
    if config.token_file:
        try:
            config = replace(config, token=Path(config.token_file).read_text().strip() or config.token)
        except OSError as problem:
            if not config.token:
                raise CliError(f"unable to read token file {config.token_file}: {problem.strerror}") from problem
    if config.exec_plugin and not config.token and not config.cert_data:
        return run_plugin(config, config.exec_plugin)
    return config


def run_plugin(config: RestConfig, plugin: Object) -> RestConfig:
    command = plugin.get("command") or ""
    version = plugin.get("apiVersion") or ""
    if version not in _VERSIONS:
        raise CliError(f'exec plugin: invalid apiVersion "{version}"')
    mode = plugin.get("interactiveMode") or "IfAvailable"
    tty = sys.stdin is not None and sys.stdin.isatty()
    if mode == "Always" and not tty:
        raise CliError(
            f"exec plugin cannot support interactive mode: standard input is not a terminal (command: {command})"
        )
    interactive = tty and mode != "Never"
    environment = dict(os.environ)
    environment.update({item["name"]: item.get("value", "") for item in plugin.get("env") or []})
    spec: Object = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {key: value for key, value in config.cluster.items() if key != "extensions"}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": spec})
    try:
        done = subprocess.run(
            [command, *(plugin.get("args") or [])],
            env=environment,
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
        )
    except OSError as problem:
        hint = plugin.get("installHint")
        text = f"getting credentials: exec: executable {command} not found"
        raise CliError(f"{text}\n\n{hint}" if hint else text, prefix="Unable to connect to the server: ") from problem
    if done.returncode != 0:
        raise CliError(
            f"getting credentials: exec: executable {command} failed with exit code {done.returncode}",
            prefix="Unable to connect to the server: ",
        )
    try:
        status = json.loads(done.stdout).get("status") or {}
    except (ValueError, AttributeError) as problem:
        raise CliError(
            f"getting credentials: decoding stdout of exec plugin {command}: it is not an ExecCredential",
            prefix="Unable to connect to the server: ",
        ) from problem
    if not status.get("token") and not status.get("clientCertificateData"):
        raise CliError(
            "getting credentials: exec plugin didn't return a token or cert/key pair",
            prefix="Unable to connect to the server: ",
        )
    return replace(
        config,
        token=status.get("token") or "",
        cert_data=(status.get("clientCertificateData") or "").encode(),
        key_data=(status.get("clientKeyData") or "").encode(),
    )
