"""The root command. Subcommands are a table of names and one-line helps; their code is imported when one runs."""

from __future__ import annotations

import importlib
import sys

import click

from cli.framework import PROG, Group, global_options
from cli.framework import main as run_main

GROUPS: dict[str, dict[str, str]] = {
    "Basic Commands (Beginner)": {
        "create": "Create a resource from a file or from stdin",
        "expose": "Take a replication controller, service, deployment or pod and expose it as a new Kubernetes service",
        "run": "Run a particular image on the cluster",
        "set": "Set specific features on objects",
    },
    "Basic Commands (Intermediate)": {
        "explain": "Get documentation for a resource",
        "get": "Display one or many resources",
        "edit": "Edit a resource on the server",
        "delete": "Delete resources by file names, stdin, resources and names, or by resources and label selector",
    },
    "Deploy Commands": {
        "rollout": "Manage the rollout of a resource",
        "scale": "Set a new size for a deployment, replica set, or replication controller",
        "autoscale": "Auto-scale a deployment, replica set, stateful set, or replication controller",
    },
    "Cluster Management Commands": {
        "certificate": "Modify certificate resources",
        "cluster-info": "Display cluster information",
        "top": "Display resource (CPU/memory) usage",
        "cordon": "Mark node as unschedulable",
        "uncordon": "Mark node as schedulable",
        "drain": "Drain node in preparation for maintenance",
        "taint": "Update the taints on one or more nodes",
    },
    "Troubleshooting and Debugging Commands": {
        "describe": "Show details of a specific resource or group of resources",
        "logs": "Print the logs for a container in a pod",
        "attach": "Attach to a running container",
        "exec": "Execute a command in a container",
        "port-forward": "Forward one or more local ports to a pod",
        "proxy": "Run a proxy to the Kubernetes API server",
        "cp": "Copy files and directories to and from containers",
        "auth": "Inspect authorization",
        "debug": "Create debugging sessions for troubleshooting workloads and nodes",
        "events": "List events",
    },
    "Advanced Commands": {
        "diff": "Diff the live version against a would-be applied version",
        "apply": "Apply a configuration to a resource by file name or stdin",
        "patch": "Update fields of a resource",
        "replace": "Replace a resource by file name or stdin",
        "kustomize": "Build a kustomization target from a directory or URL",
        "wait": "Wait for a specific condition on one or many resources",
    },
    "Settings Commands": {
        "label": "Update the labels on a resource",
        "annotate": "Update the annotations on a resource",
        "completion": "Output shell completion code for the specified shell (bash, zsh or fish)",
    },
    "Other Commands": {
        "api-resources": "Print the supported API resources on the server",
        "api-versions": 'Print the supported API versions on the server, in the form of "group/version"',
        "config": "Modify kubeconfig files",
        "plugin": "Provides utilities for interacting with plugins",
        "options": "Print the list of flags inherited by all commands",
        "version": "Print the client and server version information",
    },
}
HELPS = {name: text for group in GROUPS.values() for name, text in group.items()}


class Root(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(HELPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in HELPS:
            return None
        module = importlib.import_module(f"cli.commands.{cmd_name.replace('-', '_')}")
        made = module.command
        assert isinstance(made, click.Command)
        made.short_help = HELPS[cmd_name]
        return made

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in HELPS:
            from cli import plugins

            found = plugins.find(args)
            if found is not None:
                sys.stdout.flush()
                plugins.run(*found)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        out = [f"{PROG} controls the Kubernetes cluster manager."]
        for title, commands in GROUPS.items():
            rows = [f"  {name:<15} {text}" for name, text in commands.items() if name != "options"]
            out.append("\n".join([f"{title}:", *rows]))
        out.append(f"Usage:\n  {PROG} [flags] [options]")
        out.append(
            f'Use "{PROG} <command> --help" for more information about a given command.\n'
            f'Use "{PROG} options" for a list of global command-line options (applies to all commands).'
        )
        formatter.write("\n\n".join(out) + "\n")


root = Root(
    name=PROG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    params=[],
)


def main() -> None:
    """The console script."""
    sys.exit(run_main(root))


__all__ = ["global_options", "main", "root"]

if __name__ == "__main__":
    main()
