"""From words on the command line to objects: `TYPE NAME`, `TYPE/NAME`, `TYPE1,TYPE2`, `all`, `-f` and selectors.

Everything a command acts on becomes a `Target`: a resource mapping with a namespace, a name (or none: a list), and the
local object where it came from a file. Commands then fetch or change targets without caring how they were named.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cli.discovery import Mapping
from cli.errors import ApiError, CliError, Object, UsageError, raise_all
from cli.manifests import Document, read_all
from cli.objects import name_of, namespace_of

if TYPE_CHECKING:
    from cli.env import Env

CHUNK = 500


@dataclass
class Target:
    """Something to act on. `name` is empty for a whole list; `object` is what a file said or the server returned."""

    mapping: Mapping
    namespace: str
    name: str = ""
    object: Object | None = None
    source: str = ""

    @property
    def path(self) -> str:
        return self.mapping.path(self.namespace, self.name)

    @property
    def display(self) -> str:
        """`deployment.apps/web`."""
        return f"{self.mapping.display}/{self.name}"

    @property
    def collection(self) -> str:
        return self.mapping.path(self.namespace)


async def resolve(
    env: Env,
    args: Sequence[str],
    *,
    filenames: Sequence[str] = (),
    recursive: bool = False,
    all_namespaces: bool = False,
    need_name: bool = False,
    selector: str = "",
    select_all: bool = False,
    default_type: str = "",
) -> list[Target]:
    """Targets of the arguments, not fetched. A type without names is one target with an empty name.

    Raises `CliError` in kubectl's words for what cannot be meant.
    """
    if filenames:
        if args:
            raise UsageError(
                "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well"
            )
        if selector and need_name:
            raise CliError("selectors may not be provided together with -f")
        return await from_files(env, filenames, recursive=recursive, all_namespaces=all_namespaces)
    namespace = "" if all_namespaces else env.namespace
    if not args:
        if default_type:
            args = (default_type,)
        else:
            raise CliError(
                "You must provide one or more resources by argument or filename.\n"
                "Example resource specifications include:\n"
                "   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'"
            )
    if any("/" in arg for arg in args):
        return await _pairs(env, args, namespace, default_type, selector=selector)
    words, names = args[0], list(dict.fromkeys(args[1:]))
    if "" in names:
        raise CliError("resource name may not be empty")
    mappings: list[Mapping] = []
    for word in words.split(","):
        mappings.extend(await _mappings(env, word))
    if names:
        if selector:
            raise CliError("name cannot be provided when a selector is specified")
        if all_namespaces:
            raise CliError("a resource cannot be retrieved by name across all namespaces")
        if select_all:
            raise CliError("setting 'all' parameter but found a non empty selector. ")
        return [
            Target(mapping, namespace if mapping.namespaced else "", name) for mapping in mappings for name in names
        ]
    if need_name and not selector and not select_all:
        raise CliError("resource(s) were provided, but no name was specified")
    return [Target(mapping, namespace if mapping.namespaced else "") for mapping in mappings]


async def _pairs(env: Env, args: Sequence[str], namespace: str, default_type: str, *, selector: str) -> list[Target]:
    targets: list[Target] = []
    for arg in args:
        kind, slash, name = arg.partition("/")
        if not slash:
            if default_type:
                kind, name = default_type, arg
            else:
                raise CliError(
                    "there is no need to specify a resource type as a separate argument when passing arguments in "
                    "resource/name form (e.g. 'pykubectl get resource/<resource_name>' instead of "
                    "'pykubectl get resource resource/<resource_name>'"
                )
        if "/" in name or not kind or not name:
            raise CliError(
                "arguments in resource/name form may not have more than one slash"
                if "/" in name
                else "arguments in resource/name form must have a single resource and name"
            )
        if selector:
            raise CliError("name cannot be provided when a selector is specified")
        if not namespace:
            raise CliError("a resource cannot be retrieved by name across all namespaces")
        for mapping in await _mappings(env, kind):
            targets.append(Target(mapping, namespace if mapping.namespaced else "", name))
    return targets


async def _mappings(env: Env, word: str) -> list[Mapping]:
    if not word:
        raise CliError('the server doesn\'t have a resource type ""')
    members = await env.discovery.category(word.lower())
    return members or [await env.discovery.find(word)]


async def from_files(
    env: Env, filenames: Sequence[str], *, recursive: bool, all_namespaces: bool = False
) -> list[Target]:
    """Targets of manifests. One that cannot be used does not stop the others: it is told of when those are done."""
    targets: list[Target] = []
    problems: list[Exception] = []
    for document in read_all(filenames, recursive=recursive):
        try:
            targets.append(await from_document(env, document))
        except CliError as problem:
            problems.append(problem)
    if problems and not targets:
        raise_all(problems)
    env.deferred += problems
    return targets


async def from_document(env: Env, document: Document) -> Target:
    obj = document.object
    mapping = await env.discovery.find_kind(str(obj["apiVersion"]), str(obj["kind"]))
    name = name_of(obj)
    if mapping is None:
        raise CliError(
            f'resource mapping not found for name: "{name}" namespace: "{namespace_of(obj)}" from "{document.source}": '
            f'no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"\nensure CRDs are installed first'
        )
    namespace = ""
    if mapping.namespaced:
        namespace = namespace_of(obj)
        if env.namespace_given and namespace and namespace != env.namespace:
            raise CliError(
                f'the namespace from the provided object "{namespace}" does not match the namespace "{env.namespace}". '
                f"You must pass '--namespace={namespace}' to perform this operation."
            )
        if not namespace:
            namespace = env.namespace
            metadata = obj.get("metadata")
            obj["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "namespace": namespace}
    return Target(mapping, namespace, name, obj, document.source)


async def fetch(
    env: Env, target: Target, *, labels: str = "", fields: str = "", chunk: int = CHUNK
) -> AsyncIterator[Target]:
    """The target itself with its object, or, for a list, one target for each item."""
    if target.name:
        yield replace(target, object=await env.client.get(target.path))
        return
    async for page in pages(env, target, labels=labels, fields=fields, chunk=chunk):
        for item in page.get("items") or []:
            item.setdefault("apiVersion", page.get("apiVersion", target.mapping.api_version))
            item.setdefault("kind", target.mapping.kind)
            yield Target(target.mapping, namespace_of(item), name_of(item), item)


async def pages(
    env: Env,
    target: Target,
    *,
    labels: str = "",
    fields: str = "",
    chunk: int = CHUNK,
    accept: str = "application/json",
    extra: Object | None = None,
) -> AsyncIterator[Object]:
    """The pages of a LIST. A continuation that expired mid-way is an `ApiError` as at kubectl."""
    follow = ""
    while True:
        query = {
            "labelSelector": labels,
            "fieldSelector": fields,
            "limit": chunk or None,
            "continue": follow,
            **(extra or {}),
        }
        try:
            page = await env.client.get(target.collection, query=query, accept=accept)
        except ApiError as problem:
            if problem.reason not in ("BadRequest", "NotFound") or not (labels or fields):
                raise
            group_version = target.mapping.api_version if target.mapping.group else f"/{target.mapping.version}"
            text = (
                f'Unable to find "{group_version}, Resource={target.mapping.plural}" that match label selector '
                f'"{labels}", field selector "{fields}": {problem.message}'
            )
            raise ApiError({**problem.status, "message": text}, http_code=problem.code) from problem
        yield page
        follow = (page.get("metadata") or {}).get("continue") or ""
        if not follow:
            return


async def fetch_all(
    env: Env, targets: Sequence[Target], *, labels: str = "", fields: str = ""
) -> tuple[list[Target], list[Exception]]:
    """All objects of the targets, and the failures of those that could not be read."""
    found: list[Target] = []
    problems: list[Exception] = []
    for target in targets:
        try:
            async for one in fetch(env, target, labels=labels, fields=fields):
                found.append(one)
        except ApiError as problem:
            problems.append(problem)
    return found, problems


async def single(env: Env, args: Sequence[str], *, default_type: str = "") -> Target:
    """Exactly one object, fetched."""
    targets = await resolve(env, args, default_type=default_type, need_name=True)
    if len(targets) != 1:
        raise CliError(f"expected one resource, got {len(targets)}")
    return await fetch_one(env, targets[0])


async def fetch_one(env: Env, target: Target) -> Target:
    """A named target with its object."""
    return replace(target, object=await env.client.get(target.path))
