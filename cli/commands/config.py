"""`config`: shows and changes kubeconfig files."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from cli.env import Env
from cli.errors import CliError, Object, UsageError
from cli.framework import command as declare
from cli.framework import flag, group, option
from cli.kubeconfig import Kubeconfig
from cli.printers.tabwriter import align

command = group(
    "config",
    help="""
    Modify kubeconfig files using subcommands like "pykubectl config set current-context my-context".

    The file is chosen by --kubeconfig, else $KUBECONFIG (a list of paths whose files are merged), else ~/.kube/config.
    """,
)
SECRETS = {"client-certificate-data", "client-key-data", "certificate-authority-data"}


def _editable(env: Env) -> Kubeconfig:
    return Kubeconfig.load_for_change(env.flags.get("kubeconfig") or "")


def _one(args: tuple[str, ...], what: str) -> str:
    if len(args) != 1:
        raise UsageError(f"Unexpected args: [{' '.join(args)}]" if args else f"you must specify {what}")
    return args[0]


@declare(
    "view", usage="[flags]", help="Display merged kubeconfig settings or a specified kubeconfig file.", group=command
)
@flag("--flatten", help="Flatten the resulting kubeconfig file into self-contained output.")
@flag("--merge", default=True, help="Merge the full hierarchy of kubeconfig files.")
@flag("--minify", help="Remove all information not used by current-context from the output.")
@option("-o", "--output", default="yaml", help="Output format: yaml, json, jsonpath=....")
@flag("--raw", help="Display raw byte data and sensitive data.")
def view(env: Env, args: tuple[str, ...], flatten: bool, merge: bool, minify: bool, output: str, raw: bool) -> None:
    from cli.printers.objects import render

    config = env.kubeconfig
    doc = config.merged()
    if minify:
        doc = _minified(doc, env.flags.get("context") or config.current_context)
    if flatten:
        _flatten(doc)
    if not raw and not flatten:
        _redact(doc)
    env.out(render(doc, output, display="config"), end="")


def _minified(doc: Object, name: str) -> Object:
    if not name:
        raise CliError("current-context must exist in order to minify")
    context = next((row for row in doc["contexts"] or [] if row["name"] == name), None)
    if context is None:
        raise CliError(f"cannot locate context {name}")
    inner = context["context"]
    return {
        **doc,
        "current-context": name,
        "contexts": [context],
        "clusters": [row for row in doc["clusters"] or [] if row["name"] == inner.get("cluster")] or None,
        "users": [row for row in doc["users"] or [] if row["name"] == inner.get("user")] or None,
    }


def _entries(doc: Object) -> list[Object]:
    rows = [*(doc.get("clusters") or []), *(doc.get("users") or [])]
    return [row.get("cluster") or row.get("user") or {} for row in rows]


def _redact(doc: Object) -> None:
    for entry in _entries(doc):
        for key in SECRETS & entry.keys():
            entry[key] = "DATA+OMITTED"
        for key in ("token", "password"):
            if key in entry:
                entry[key] = "REDACTED"


def _flatten(doc: Object) -> None:
    for entry in _entries(doc):
        for key in ("certificate-authority", "client-certificate", "client-key"):
            path = entry.pop(key, None)
            if path:
                entry[f"{key}-data"] = base64.b64encode(Path(path).read_bytes()).decode()


@declare("current-context", usage="[flags]", help="Display the current-context.", group=command)
def current_context(env: Env, args: tuple[str, ...]) -> None:
    name = env.kubeconfig.current_context
    if not name:
        raise CliError("current-context is not set")
    env.out(name)


@declare("get-contexts", usage="[(-o|--output=)name)]", help="Display one or many contexts.", group=command)
@flag("--no-headers", help="Don't print headers (default print headers).")
@option("-o", "--output", help='Output format. One of: ("" | name).')
def get_contexts(env: Env, args: tuple[str, ...], no_headers: bool, output: str) -> None:
    config = env.kubeconfig
    contexts = config.entries("contexts")
    missing = [name for name in args if name not in contexts]
    names = [name for name in contexts if not args or name in args]
    if output == "name":
        for name in names:
            env.out(name)
    elif output:
        raise CliError(f"output must be one of 'name' or '': {output}")
    else:
        rows = [] if no_headers else ["CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE"]
        for name in names:
            one = contexts[name]
            mark = "*" if name == config.current_context else ""
            rows.append("\t".join([mark, name, one.get("cluster", ""), one.get("user", ""), one.get("namespace", "")]))
        if rows:
            env.out(align("\n".join(rows), minwidth=6, padding=3))
    if missing:
        raise CliError(f"context {missing[0]} not found")


def _names(name: str, section: str, about: str) -> None:
    @declare(name, usage="[flags]", help=about, group=command)
    def run(env: Env, args: tuple[str, ...]) -> None:
        env.out("NAME")
        for one in env.kubeconfig.entries(section):
            env.out(one)


_names("get-clusters", "clusters", "Display clusters defined in the kubeconfig.")
_names("get-users", "users", "Display users defined in the kubeconfig.")


@declare("use-context", usage="CONTEXT_NAME", help="Set the current-context in a kubeconfig file.", group=command)
def use_context(env: Env, args: tuple[str, ...]) -> None:
    name = _one(args, "a context name")
    config = _editable(env)
    if name not in config.entries("contexts"):
        raise CliError(f'no context exists with the name: "{name}"')
    config.set_current_context(name)
    config.save()
    env.out(f'Switched to context "{name}".')


@declare(
    "set-context",
    usage="[NAME | --current] [--cluster=cluster_nickname] [--user=user_nickname] [--namespace=namespace]",
    help="Set a context entry in kubeconfig.",
    group=command,
)
@option("--cluster", help="cluster for the context entry in kubeconfig")
@flag("--current", help="Modify the current context")
@option("-n", "--namespace", help="namespace for the context entry in kubeconfig")
@option("--user", help="user for the context entry in kubeconfig")
def set_context(env: Env, args: tuple[str, ...], cluster: str, current: bool, namespace: str, user: str) -> None:
    config = _editable(env)
    if current:
        if args:
            raise UsageError(f"unexpected args: [{' '.join(args)}]")
        name = config.current_context
        if not name:
            raise CliError("no current context is set")
    else:
        name = _one(args, "a non-empty context name or --current")
    existed = name in config.entries("contexts")
    entry = dict(config.entries("contexts").get(name, {}))
    for key, value in (("cluster", cluster), ("user", user), ("namespace", namespace)):
        if value:
            entry[key] = value
    entry.setdefault("cluster", "")
    entry.setdefault("user", "")
    config.set_entry("contexts", name, entry)
    config.save()
    env.out(f'Context "{name}" {"modified" if existed else "created"}.')


@declare(
    "set-cluster",
    usage="NAME [--server=server] [--certificate-authority=path/to/certificate/authority] "
    "[--insecure-skip-tls-verify=true] [--tls-server-name=example.com]",
    help="Set a cluster entry in kubeconfig.",
    group=command,
)
@option("--certificate-authority", help="Path to certificate-authority file for the cluster entry in kubeconfig")
@flag("--embed-certs", help="embed-certs for the cluster entry in kubeconfig")
@flag("--insecure-skip-tls-verify", help="insecure-skip-tls-verify for the cluster entry in kubeconfig")
@option("--proxy-url", help="proxy-url for the cluster entry in kubeconfig")
@option("-s", "--server", help="server for the cluster entry in kubeconfig")
@option("--tls-server-name", help="tls-server-name for the cluster entry in kubeconfig")
def set_cluster(env: Env, args: tuple[str, ...], **params: Any) -> None:
    name = _one(args, "a cluster name")
    config = _editable(env)
    entry = dict(config.entries("clusters").get(name, {}))
    for key in ("server", "tls_server_name", "proxy_url"):
        if params[key]:
            entry[key.replace("_", "-")] = params[key]
    if params["insecure_skip_tls_verify"]:
        entry["insecure-skip-tls-verify"] = True
        entry.pop("certificate-authority", None)
        entry.pop("certificate-authority-data", None)
    if params["certificate_authority"]:
        _put_file(entry, "certificate-authority", params["certificate_authority"], embed=params["embed_certs"])
        entry.pop("insecure-skip-tls-verify", None)
    entry.setdefault("server", "")
    config.set_entry("clusters", name, entry)
    config.save()
    env.out(f'Cluster "{name}" set.')


@declare(
    "set-credentials",
    usage="NAME [--client-certificate=path] [--client-key=path] [--token=bearer_token] [--username=user] "
    "[--password=password] [--exec-command=command] [--exec-arg=arg] [--exec-env=key=value]",
    help="Set a user entry in kubeconfig.",
    group=command,
)
@option("--client-certificate", help="Path to client-certificate file for the user entry in kubeconfig")
@option("--client-key", help="Path to client-key file for the user entry in kubeconfig")
@flag("--embed-certs", help="Embed client cert/key for the user entry in kubeconfig")
@option("--exec-api-version", help="API version of the exec credential plugin")
@option("--exec-arg", multiple=True, help="New arguments for the exec credential plugin command")
@option("--exec-command", help="Command for the exec credential plugin")
@option("--exec-env", multiple=True, help="'key=value' environment values for the exec credential plugin")
@option("--password", help="password for the user entry in kubeconfig")
@option("--token", help="token for the user entry in kubeconfig")
@option("--username", help="username for the user entry in kubeconfig")
def set_credentials(env: Env, args: tuple[str, ...], **params: Any) -> None:
    name = _one(args, "a user name")
    if params["token"] and params["username"]:
        raise CliError("you cannot specify more than one authentication method at the same time: token, basicAuth")
    config = _editable(env)
    entry = dict(config.entries("users").get(name, {}))
    for key in ("client_certificate", "client_key"):
        if params[key]:
            _put_file(entry, key.replace("_", "-"), params[key], embed=params["embed_certs"])
    for key in ("token", "username", "password"):
        if params[key]:
            entry[key] = params[key]
    if params["token"]:
        entry.pop("username", None)
        entry.pop("password", None)
    if params["exec_command"]:
        plugin: Object = {
            "apiVersion": params["exec_api_version"] or "client.authentication.k8s.io/v1",
            "command": params["exec_command"],
            "args": list(params["exec_arg"]) or None,
            "env": [{"name": k, "value": v} for k, _, v in (text.partition("=") for text in params["exec_env"])]
            or None,
            "interactiveMode": "IfAvailable",
            "provideClusterInfo": False,
        }
        entry["exec"] = plugin
    config.set_entry("users", name, entry)
    config.save()
    env.out(f'User "{name}" set.')


def _put_file(entry: Object, key: str, path: str, *, embed: bool) -> None:
    if not embed:
        entry[key] = str(Path(path).absolute())
        entry.pop(f"{key}-data", None)
        return
    try:
        content = Path(path).read_bytes()
    except OSError as problem:
        raise CliError(f"could not read {key} data from {path}: {(problem.strerror or '').lower()}") from problem
    entry[f"{key}-data"] = base64.b64encode(content).decode()
    entry.pop(key, None)


def _delete(name: str, section: str, word: str) -> None:
    @declare(name, usage="NAME", help=f"Delete the specified {word} from the kubeconfig.", group=command)
    def run(env: Env, args: tuple[str, ...]) -> None:
        entry = _one(args, f"the name of a {word}")
        config = _editable(env)
        where = config.path_of(section, entry)
        if where is None:
            shown = config.default_file
            raise CliError(f"cannot delete {word} {entry}, not in {shown}")
        if section == "contexts" and config.current_context == entry:
            env.err(
                'warning: this removed your active context, use "pykubectl config use-context" to select a '
                "different one"
            )
        config.delete_entry(section, entry)
        config.save()
        env.out(f"deleted {word} {entry} from {where}")


_delete("delete-context", "contexts", "context")
_delete("delete-cluster", "clusters", "cluster")
_delete("delete-user", "users", "user")


@declare(
    "rename-context", usage="CONTEXT_NAME NEW_NAME", help="Rename a context from the kubeconfig file.", group=command
)
def rename_context(env: Env, args: tuple[str, ...]) -> None:
    if len(args) != 2:
        raise UsageError("rename-context needs CONTEXT_NAME and NEW_NAME")
    old, new = args
    config = _editable(env)
    contexts = config.entries("contexts")
    if old not in contexts:
        raise CliError(f'cannot rename the context "{old}", it\'s not in {config.default_file}')
    if new in contexts:
        raise CliError(
            f'cannot rename the context "{old}", the context "{new}" already exists in {config.default_file}'
        )
    current = config.current_context
    for _, doc in config.files:
        for row in doc.get("contexts") or []:
            if row.get("name") == old:
                row["name"] = new
    if current == old:
        config.set_current_context(new)
    config.save()
    env.out(f'Context "{old}" renamed to "{new}".')


@declare("unset", usage="PROPERTY_NAME", help="Unset an individual value in a kubeconfig file.", group=command)
def unset(env: Env, args: tuple[str, ...]) -> None:
    name = _one(args, "a property name")
    config = _editable(env)
    _set_path(config, name, None)
    config.save()
    env.out(f'Property "{name}" unset.')


@declare(
    "set", usage="PROPERTY_NAME PROPERTY_VALUE", help="Set an individual value in a kubeconfig file.", group=command
)
def set_value(env: Env, args: tuple[str, ...]) -> None:
    if len(args) != 2:
        raise UsageError("set needs PROPERTY_NAME and PROPERTY_VALUE")
    config = _editable(env)
    _set_path(config, args[0], args[1])
    config.save()
    env.out(f'Property "{args[0]}" set.')


def _set_path(config: Kubeconfig, path: str, value: str | None) -> None:
    section, _, rest = path.partition(".")
    if section == "current-context":
        config.set_current_context(value or "")
        return
    if section not in ("clusters", "contexts", "users") or not rest:
        raise CliError(f"unknown property: {path}")
    names = sorted(config.entries(section), key=len, reverse=True)
    name = next((one for one in names if rest == one or rest.startswith(f"{one}.")), rest.rpartition(".")[0] or rest)
    key = rest[len(name) + 1 :]
    if not key:
        if value is None:
            config.delete_entry(section, name)
        return
    entry = dict(config.entries(section).get(name, {}))
    if value is None:
        entry.pop(key, None)
    elif key == "insecure-skip-tls-verify":
        entry[key] = value.lower() == "true"
    else:
        entry[key] = value
    config.set_entry(section, name, entry)
