"""`create`: objects from files, and the generators (`create deployment ...`)."""

from __future__ import annotations

from cli.commands import create_access, create_config, create_workloads
from cli.env import Env
from cli.errors import CliError
from cli.framework import RunnableGroup, flag, option
from cli.objects import name_of
from cli.resources import Target, resolve
from cli.writing import (
    Writer,
    dry_run_option,
    each,
    filename_options,
    output_option,
    selector_option,
    with_last_applied,
)

ALIASES = {
    "ns": "namespace",
    "cm": "configmap",
    "deploy": "deployment",
    "svc": "service",
    "sa": "serviceaccount",
    "pdb": "poddisruptionbudget",
    "pc": "priorityclass",
    "resourcequota": "quota",
    "cj": "cronjob",
    "ing": "ingress",
}


@dry_run_option
@flag("--edit", help="Edit the API resource before creating.")
@option("--field-manager", default="kubectl-create", help="Name of the manager used to track field ownership.")
@filename_options
@output_option
@option("--raw", help="Raw URI to POST to the server. Uses the transport specified by the kubeconfig file.")
@flag("--save-config", help="If true, the configuration of current object will be saved in its annotation.")
@selector_option
@option(
    "--validate", bare="strict", default="strict", help="Must be one of: strict (or true), warn, ignore (or false)."
)
async def _from_files(
    env: Env,
    dry_run: str,
    edit: bool,
    field_manager: str,
    filename: tuple[str, ...],
    output: str,
    raw: str,
    recursive: bool,
    save_config: bool,
    selector: str,
    validate: str,
) -> None:
    from cli.commands.apply import validation

    if not filename:
        raise CliError("must specify one of -f and -k")
    if raw:
        if len(filename) != 1:
            raise CliError("--raw can only use a single local file or stdin")
        from cli.manifests import read_all

        for document in read_all(filename):
            env.out((await env.client.raw("POST", raw, body=document.object)).decode(), end="")
        return
    writer = Writer(env, dry_run=dry_run, output=output, manager=field_manager, validate=validation(validate))
    targets = await resolve(env, (), filenames=filename, recursive=recursive)
    if selector:
        from api.selectors import parse_label_selector

        chosen = parse_label_selector(selector)
        targets = [t for t in targets if chosen.matches(((t.object or {}).get("metadata") or {}).get("labels"))]
    if edit:
        from cli.editor import edit_documents

        edited = await edit_documents(env, [target.object or {} for target in targets])
        for target, obj in zip(targets, edited, strict=True):
            target.object, target.name = obj, name_of(obj)
    if not targets:
        raise CliError("no objects passed to create")

    async def create(target: Target) -> None:
        obj = target.object or {}
        made = await writer.create(target, with_last_applied(obj) if save_config else obj)
        writer.report(target.mapping, made, "created")

    await each(targets, create, verb="creating")


command = RunnableGroup(
    "create",
    run=_from_files,
    aliases=ALIASES,
    help="Create a resource from a file or from stdin.\n\nJSON and YAML formats are accepted: create -f FILENAME.",
)
for part in (create_workloads, create_config, create_access):
    part.add_to(command)
