"""Declarative configuration: makes one object on the server as its manifest says.

Client-side apply keeps the manifest in an annotation, so that the next run knows what was removed from it. Server-side
apply (KEP-555) leaves that to the server's managed fields.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from cli.csa_upgrade import upgrade_patch
from cli.env import Env
from cli.errors import ApiError, CliError, Object
from cli.objects import LAST_APPLIED, annotations_of, name_of
from cli.resources import Target
from cli.rest import PATCH_TYPES
from cli.strategic import schema_for, three_way, three_way_json
from cli.writing import Writer, with_last_applied

RETRIES = 5
SERVER_SIDE, CLIENT_SIDE = "kubectl", "kubectl-client-side-apply"
CONFLICT_HELP = """
Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
* If you intend to manage all of these fields, please re-run the apply
  command with the `--force-conflicts` flag.
* If you do not intend to manage all of the fields, please edit your
  manifest to remove references to the fields that should keep their
  current managers.
* You may co-own fields by updating your manifest to match the existing
  value; in this case, you'll become the manager if the other manager(s)
  stop managing the field (remove it from their configuration).
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts"""


def default_manager(*, server_side: bool) -> str:
    """Who owns what `apply` sets, unless --field-manager says so."""
    return SERVER_SIDE if server_side else CLIENT_SIDE


@dataclass
class Applied:
    object: Object
    outcome: str


class Applier:
    def __init__(
        self,
        env: Env,
        writer: Writer,
        *,
        server_side: bool = False,
        force_conflicts: bool = False,
        force: bool = False,
    ) -> None:
        self.env = env
        self.writer = writer
        self.server_side = server_side
        self.force_conflicts = force_conflicts
        self.force = force

    async def apply(self, target: Target) -> Applied:
        """Applies one manifest. Raises `ApiError` with the file's name in the message."""
        if target.object is None:
            raise CliError("apply needs an object from a file")
        if not name_of(target.object):
            if (target.object.get("metadata") or {}).get("generateName"):
                raise CliError(
                    f"error: from {target.object['metadata']['generateName']}: cannot use generate name with apply",
                    prefix="",
                )
            raise CliError(
                f'error when retrieving current configuration of:\nResource: "{target.mapping.group_resource}", '
                f'GroupVersionKind: "{target.mapping.api_version}, Kind={target.mapping.kind}"\nName: "", Namespace: '
                f'"{target.namespace}"\nfrom server for: "{target.source}": resource name may not be empty'
            )
        if self.server_side:
            return await self._server_side(target, target.object)
        modified = with_last_applied(target.object)
        try:
            current = await self.env.client.get(target.path)
        except ApiError as problem:
            if not problem.is_not_found:
                raise _retrieving(problem, target) from problem
            return await self._create(target, modified)
        return await self._patch(target, modified, current)

    async def _create(self, target: Target, modified: Object) -> Applied:
        try:
            made = await self.writer.create(target, modified)
        except ApiError as problem:
            raise problem.with_source("creating", target.source) from problem
        return Applied(made, "created")

    async def _patch(self, target: Target, modified: Object, current: Object) -> Applied:
        if LAST_APPLIED not in annotations_of(current):
            self.env.warn(
                f"resource {target.mapping.plural}/{target.name} is missing the {LAST_APPLIED} annotation which is "
                "required by kubectl apply. kubectl apply should only be used on resources created declaratively by "
                "either kubectl create --save-config or kubectl apply. The missing annotation will be patched "
                "automatically."
            )
        for attempt in range(RETRIES + 1):
            patch, kind = make_patch(target, modified, current)
            if not patch:
                return Applied(current, "unchanged")
            if self.writer.client_only:
                return Applied(await self._preview(patch, kind, current, target), "configured")
            try:
                return Applied(await self.writer.patch(target, patch, kind=kind), "configured")
            except ApiError as problem:
                if problem.is_conflict and attempt < RETRIES:
                    await asyncio.sleep(attempt)
                    current = await self.env.client.get(target.path)
                    continue
                if self.force and (problem.is_conflict or problem.reason == "Invalid"):
                    return await self._recreate(target, modified)
                raise patching_error(problem, patch, target) from problem
        raise CliError("the object kept changing while it was being applied")

    async def _preview(self, patch: Object, kind: str, current: Object, target: Target) -> Object:
        """What a client-side dry run shows: the live object with the patch laid over it."""
        from cli.strategic import _overlay

        if kind == "merge":
            from api.patch import merge_patch

            merged: Object = merge_patch(current, patch)
            return merged
        schema = _type_of(target)
        if schema is None:
            return _overlay(current, patch)
        from api.patch import strategic_merge

        laid: Object = strategic_merge(current, patch, schema)
        return laid

    async def _recreate(self, target: Target, modified: Object) -> Applied:
        await self.env.client.request("DELETE", target.path, body={"kind": "DeleteOptions", "apiVersion": "v1"})
        while True:
            try:
                await self.env.client.get(target.path)
            except ApiError as problem:
                if problem.is_not_found:
                    break
                raise
            await asyncio.sleep(0.5)
        made = await self.writer.create(target, modified)
        return Applied(made, "configured")

    async def _server_side(self, target: Target, obj: Object) -> Applied:
        try:
            made = await self.writer.patch(target, obj, kind="apply", force=self.force_conflicts)
        except ApiError as problem:
            if problem.is_conflict:
                raise CliError(f"{problem.message}{CONFLICT_HELP}") from problem
            raise
        if not self.writer.dry_run and self.writer.manager == SERVER_SIDE:
            # What client-side apply set becomes ours, or it could never be removed by leaving it out (KEP-2155).
            patch = upgrade_patch(made, {CLIENT_SIDE}, self.writer.manager)
            if patch is not None:
                await self.env.client.request("PATCH", target.path, body=patch, content_type=PATCH_TYPES["json"])
                made = await self.writer.patch(target, obj, kind="apply", force=self.force_conflicts)
        return Applied(made, "serverside-applied")


def make_patch(target: Target, modified: Object, current: Object) -> tuple[Object, str]:
    """The patch body and its type; empty when nothing has to change."""
    text = annotations_of(current).get(LAST_APPLIED)
    original: Object | None = None
    if text:
        try:
            original = json.loads(text)
        except ValueError as problem:
            raise CliError(f"the {LAST_APPLIED} annotation of {target.display} is not JSON") from problem
    schema = schema_for(target.mapping.api_version, target.mapping.kind)
    if schema is None:
        patch, kind = three_way_json(original, modified, current), "merge"
    else:
        patch, kind = three_way(original, modified, current, schema), "strategic"
    # The object's identity never changes by apply; a stated one is only a precondition.
    for key in ("apiVersion", "kind"):
        patch.pop(key, None)
    return patch, kind


def _type_of(target: Target) -> type | None:
    schema = schema_for(target.mapping.api_version, target.mapping.kind)
    return schema.struct if schema is not None else None


def _group_version(target: Target) -> str:
    """`apps/v1`, and `/v1` for the core group, as Go prints it."""
    return target.mapping.api_version if target.mapping.group else f"/{target.mapping.version}"


def _retrieving(problem: ApiError, target: Target) -> ApiError:
    text = (
        f'error when retrieving current configuration of:\nResource: "{_group_version(target)}, '
        f'Resource={target.mapping.plural}", GroupVersionKind: "{_group_version(target)}, '
        f'Kind={target.mapping.kind}"\nName: "{target.name}", Namespace: "{target.namespace}"\n'
        f'from server for: "{target.source}": {problem.message}'
    )
    return ApiError({**problem.status, "message": text}, http_code=problem.code)


def patching_error(problem: ApiError, patch: Object, target: Target) -> ApiError:
    if problem.reason == "Invalid":
        return problem
    from cli.printers.json import compact

    text = (
        f'error when applying patch:\n{compact(patch)}\nto:\nResource: "{_group_version(target)}, '
        f'Resource={target.mapping.plural}", GroupVersionKind: "{_group_version(target)}, '
        f'Kind={target.mapping.kind}"\nName: "{target.name}", Namespace: "{target.namespace}"\n'
        f'for: "{target.source}": error when patching "{target.source}": {problem.message}'
    )
    return ApiError({**problem.status, "message": text}, http_code=problem.code)
