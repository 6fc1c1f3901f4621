"""How a command is declared: click underneath, kubectl's flag habits and help layout on top.

kubectl parses flags with pflag, which differs from click in ways users rely on: `--flag=false`, `-o=yaml`, flags with
an optional value (`--dry-run`), global flags before or after the command, and knowing what stood behind `--`. All of
that is here, so that a command is just an async function.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click

from cli import errors

PROG = "pykubectl"


class Option(click.Option):
    """A click option that also knows pflag's default shown in help and its value when given bare."""

    def __init__(self, *args: Any, bare: str | None = None, shown: str | None = None, **kwargs: Any) -> None:
        self.bare = bare
        self.shown = shown
        super().__init__(*args, **kwargs)


def option(*names: str, help: str = "", **kwargs: Any) -> Callable[[Any], Any]:
    """A flag that takes a value (or, with `bare=`, may stand alone)."""
    if kwargs.get("multiple"):
        kwargs["default"] = ()
    elif not kwargs.get("required"):
        kwargs.setdefault("default", None if "type" in kwargs else "")
    return click.option(*names, cls=Option, help=help, **kwargs)


def flag(*names: str, help: str = "", default: bool = False, **kwargs: Any) -> Callable[[Any], Any]:
    """A boolean flag; `--name=false` works too."""
    return click.option(
        *names, cls=Option, is_flag=True, flag_value=True, type=bool, default=default, help=help, **kwargs
    )


def global_options() -> list[Option]:
    """The flags every command takes. They go into the environment, not to the command."""

    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        source = ctx.get_parameter_source(param.name or "")
        if source is not None and source.name == "COMMANDLINE":
            ctx.ensure_object(dict)[param.name] = value
        return value

    def make(*names: str, help: str, **kwargs: Any) -> Option:
        return Option(list(names), help=help, expose_value=False, callback=keep, hidden=True, **kwargs)

    def switch(*names: str, help: str) -> Option:
        return make(*names, help=help, is_flag=True, flag_value=True, type=bool, default=False)

    return [
        make("--as", "as_user", help="Username to impersonate for the operation."),
        make("--as-group", multiple=True, help="Group to impersonate, this flag can be repeated."),
        make("--as-uid", help="UID to impersonate for the operation."),
        make("--cache-dir", help="Default cache directory (~/.kube/cache)."),
        make("--certificate-authority", help="Path to a cert file for the certificate authority."),
        make("--client-certificate", help="Path to a client certificate file for TLS."),
        make("--client-key", help="Path to a client key file for TLS."),
        make("--cluster", help="The name of the kubeconfig cluster to use."),
        make("--context", help="The name of the kubeconfig context to use."),
        switch("--insecure-skip-tls-verify", help="Do not check the server's certificate. This is insecure."),
        make("--kubeconfig", help="Path to the kubeconfig file to use for CLI requests."),
        make("-n", "--namespace", help="If present, the namespace scope for this CLI request."),
        make("--password", help="Password for basic authentication to the API server."),
        make("--request-timeout", help="How long to wait for a single server request (1s, 2m, 3h). 0 means no limit."),
        make("-s", "--server", help="The address and port of the Kubernetes API server."),
        make("--tls-server-name", help="Server name to use for server certificate validation."),
        make("--token", help="Bearer token for authentication to the API server."),
        make("--user", help="The name of the kubeconfig user to use."),
        make("--username", help="Username for basic authentication to the API server."),
        make("-v", "--v", "verbosity", type=int, help="Log level verbosity: 6 shows requests, 8 bodies, 9 tracebacks."),
    ]


class PflagMixin(click.Command):
    """Turns pflag's spellings into click's before click parses."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            args, overrides = self._normalise(ctx, list(args))
            rest = super().parse_args(ctx, args)
            for name in overrides:
                if name in ctx.params:
                    ctx.params[name] = False
                else:
                    ctx.ensure_object(dict).pop(name, None)
            return rest
        return super().parse_args(ctx, args)

    def _normalise(self, ctx: click.Context, args: list[str]) -> tuple[list[str], list[str]]:
        known: dict[str, click.Option] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option):
                for name in (*param.opts, *param.secondary_opts):
                    known[name] = param
        out: list[str] = []
        overrides: list[str] = []
        index = 0
        while index < len(args):
            token = args[index]
            index += 1
            if token == "--" or (isinstance(self, click.Group) and not token.startswith("-")):
                out.extend([token, *args[index:]])
                break
            match = re.match(r"^(--[^=]+|-[A-Za-z])(?:=(.*))?$", token, re.S)
            param_found = known.get(match.group(1)) if match else None
            if match is None or param_found is None:
                out.append(token)
                continue
            name, value = match.group(1), match.group(2)
            if param_found.is_flag:
                if value is None:
                    out.append(name)
                elif value.lower() in ("true", "t", "1"):
                    out.append(name)
                    overrides = [other for other in overrides if other != param_found.name]
                elif value.lower() in ("false", "f", "0"):
                    overrides.append(param_found.name or "")
                else:
                    raise errors.UsageError(
                        f'invalid argument "{value}" for "{_flag_title(param_found)}" flag: '
                        f'strconv.ParseBool: parsing "{value}": invalid syntax'
                    )
            elif value is None and getattr(param_found, "bare", None) is not None:
                out.extend([name, param_found.bare])  # type: ignore[attr-defined]
            elif value is not None:
                out.extend([f"{name}={value}"] if name.startswith("--") else [name, value])
            else:
                out.append(name)
                if index < len(args):
                    out.append(args[index])
                    index += 1
        return out, overrides


def _flag_title(param: click.Parameter) -> str:
    return ", ".join(sorted((*param.opts,), key=len))


class Command(PflagMixin):
    """A leaf command: help in kubectl's layout, arguments split at `--`."""

    def __init__(self, *args: Any, usage: str = "", examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.usage = usage
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args and not ctx.resilient_parsing:
            cut = self._dash(ctx, args)
            if cut is not None:
                ctx.meta["cli.after_dash"] = args[cut + 1 :]
                args = args[:cut]
        return super().parse_args(ctx, args)

    def _dash(self, ctx: click.Context, args: list[str]) -> int | None:
        return args.index("--")

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        out: list[str] = [inspect.cleandoc(self.help or self.short_help or "")]
        if self.examples:
            body = re.sub(r"\bkubectl ", f"{PROG} ", inspect.cleandoc(self.examples))
            out.append("Examples:\n" + "\n".join(f"  {line}".rstrip() for line in body.splitlines()))
        shown = [p for p in self.get_params(ctx) if isinstance(p, click.Option) and not p.hidden and p.name != "help"]
        if shown:
            lines = ["Options:"]
            for param in sorted(shown, key=lambda p: max(p.opts, key=len).lstrip("-")):
                lines.append(f"    {_flag_title(param)}={_default_text(param)}:\n        {param.help}\n")
            out.append("\n".join(lines).rstrip())
        out.append(f"Usage:\n  {ctx.command_path} {self.usage} [options]".replace("  [options]", " [options]"))
        out.append(f'Use "{PROG} options" for a list of global command-line options (applies to all commands).')
        formatter.write("\n\n".join(out) + "\n")


def _default_text(param: click.Option) -> str:
    shown = getattr(param, "shown", None)
    if shown is not None:
        return str(shown)
    if param.is_flag:
        return "true" if param.default is True else "false"
    if param.multiple:
        return "[]"
    default = param.default
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        return str(default)
    return f"'{default}'" if isinstance(default, str) else "''"


class Group(PflagMixin, click.Group):
    """A command with subcommands (`rollout`, `config`); lists them like kubectl."""

    def __init__(self, *args: Any, aliases: dict[str, str] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("no_args_is_help", True)
        super().__init__(*args, **kwargs)
        self.aliases = aliases or {}
        self.params.extend(global_options())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        out = [inspect.cleandoc(self.help or "")]
        rows = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f"  {name:<{width}}   {sub.get_short_help_str(200) if sub else ''}".rstrip() for name, sub in rows]
        out.append("Available Commands:\n" + "\n".join(lines))
        out.append(f"Usage:\n  {ctx.command_path} SUBCOMMAND [options]")
        out.append(
            f'Use "{ctx.command_path} <command> --help" for more information about a given command.\n'
            f'Use "{PROG} options" for a list of global command-line options (applies to all commands).'
        )
        formatter.write("\n\n".join(part for part in out if part) + "\n")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise unknown_command(name, ctx.command_path, self.list_commands(ctx))
        return super().resolve_command(ctx, args)


class RunnableGroup(Group):
    """A command that runs by itself and has subcommands too (`create`, `apply`, `cluster-info`)."""

    def __init__(self, *args: Any, run: Callable[..., Any], words: str = "Unexpected args:", **kwargs: Any) -> None:
        # Words that are no subcommand are answered as arguments, as kubectl does.
        kwargs.update(invoke_without_command=True, no_args_is_help=False)
        self.run_function = run
        self.words = words
        super().__init__(*args, callback=self._start, **kwargs)
        self.params.extend(getattr(run, "__click_params__", [])[::-1])

    def _start(self, **params: Any) -> None:
        from cli.env import Env

        ctx = click.get_current_context()
        ctx.ensure_object(dict)["command_path"] = ctx.command_path
        if ctx.invoked_subcommand is None:
            execute(Env(ctx.ensure_object(dict), command_path=ctx.command_path), self.run_function, **params)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            ctx.ensure_object(dict)["command_path"] = ctx.command_path
            raise errors.UsageError(f"{self.words} [{' '.join(args)}]")
        return super().resolve_command(ctx, args)


def group(name: str, *, help: str, parent: click.Group | None = None) -> Group:
    """A command that only holds subcommands."""
    made = Group(name=name, help=help)
    if parent is not None:
        parent.add_command(made)
    return made


def unknown_command(name: str, parent: str, known: Sequence[str]) -> errors.CliError:
    import difflib

    text = f'unknown command "{name}" for "{parent}"'
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if near:
        text += "\n\nDid you mean this?\n" + "".join(f"\t{other}\n" for other in near)
    return errors.CliError(text)


def command(
    name: str,
    *,
    usage: str,
    help: str,
    examples: str = "",
    group: click.Group | None = None,
    **kwargs: Any,
) -> Callable[[Callable[..., Any]], click.Command]:
    """Declares a command. The function gets the `Env`, `args` (words before `--`) and its options by name.

    An async function runs on its own event loop. `after_dash` is passed if the function has such a parameter: the
    words behind `--`, or None where there was no `--`.
    """

    def wrap(function: Callable[..., Any]) -> click.Command:
        wants_dash = "after_dash" in inspect.signature(function).parameters

        def run(**params: Any) -> Any:
            from cli.env import Env

            ctx = click.get_current_context()
            ctx.ensure_object(dict)["command_path"] = ctx.command_path
            env = Env(ctx.ensure_object(dict), command_path=ctx.command_path)
            after = ctx.meta.get("cli.after_dash")
            args = tuple(params.pop("args", ()))
            if wants_dash:
                params["after_dash"] = after
            elif after:
                args = (*args, *after)
            return execute(env, function, args=args, **params)

        run.__click_params__ = list(getattr(function, "__click_params__", []))  # type: ignore[attr-defined]
        made = click.command(name, cls=Command, help=help, usage=usage, examples=examples, **kwargs)(run)
        made.params.insert(
            0, click.Argument(["args"], nargs=-1, type=click.UNPROCESSED, shell_complete=_complete_arguments)
        )
        taken = {opt for param in made.params if isinstance(param, click.Option) for opt in param.opts}
        for extra in global_options():
            # A command's own flag wins over a global one of the same letter (`logs -f`, `apply -s`).
            if not taken & set(extra.opts):
                made.params.append(extra)
            else:
                extra.opts = [opt for opt in extra.opts if opt not in taken]
                if extra.opts:
                    made.params.append(extra)
        if group is not None:
            group.add_command(made)
        return made

    return wrap


def _complete_arguments(ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
    from cli.completing import shell_complete

    return shell_complete(ctx, param, incomplete)


def execute(env: Any, function: Callable[..., Any], **params: Any) -> Any:
    folder = params.pop("kustomize", "")
    if folder:
        from cli.manifests import Kustomization

        if params["filename"]:
            raise errors.CliError("only one of -f or -k can be specified")
        params["filename"] = (Kustomization(folder),)
    if "allow_missing_template_keys" in params:
        from cli.printers.objects import Output

        params["output"] = Output.of(
            params["output"],
            params.pop("template"),
            show_managed_fields=params.pop("show_managed_fields"),
            allow_missing=params.pop("allow_missing_template_keys"),
        )
    if not inspect.iscoroutinefunction(function):
        return function(env, **params)

    async def main() -> Any:
        try:
            done = await function(env, **params)
        except Exception as problem:
            if not env.deferred:
                raise
            found = problem.errors if isinstance(problem, errors.Errors) else [problem]
            raise errors.Errors([*found, *env.deferred]) from problem
        finally:
            await env.close()
        errors.raise_all(env.deferred)
        return done

    return run_async(main())


def run_async(work: Awaitable[Any]) -> Any:
    # Help and usage errors need no event loop; the import is worth 40 ms to them.
    import asyncio

    async def main() -> Any:
        return await work

    return asyncio.run(main())


def main(root: click.Command, argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code. Nothing but this function prints errors."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    state: dict[str, Any] = {}
    try:
        root.main(args=arguments, prog_name=PROG, standalone_mode=False, obj=state)
        sys.stdout.flush()
        return 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except click.exceptions.NoArgsIsHelpError as stop:
        # A group without a subcommand is a mistake, but for the program itself; kubectl helps on standard error.
        alone = stop.ctx is None or stop.ctx.parent is None
        print(stop.ctx.get_help() if stop.ctx else "", file=sys.stdout if alone else sys.stderr)
        return 0 if alone else 1
    except click.UsageError as problem:
        if problem.message == "Missing command." and problem.ctx is not None:
            print(problem.ctx.get_help(), file=sys.stderr)
            return 1
        print(f"error: {_click_words(problem)}", file=sys.stderr)
        if isinstance(problem, click.MissingParameter):
            return 1
        path = problem.ctx.command_path if problem.ctx else PROG
        print(f"See '{path} --help' for usage.", file=sys.stderr)
        return 1
    except BaseException as problem:
        verbosity = int(state.get("verbosity") or 0)
        return report(problem, verbosity=verbosity, command_path=state.get("command_path") or PROG)


def report(problem: BaseException, *, verbosity: int, command_path: str) -> int:
    if isinstance(problem, BaseExceptionGroup):
        inner = [one for one in problem.exceptions if type(one).__name__ != "CancelledError"]
        if inner:
            return report(inner[0], verbosity=verbosity, command_path=command_path)
    if verbosity >= 9:
        import traceback

        traceback.print_exception(problem)
    if isinstance(problem, SystemExit):
        return int(problem.code or 0) if isinstance(problem.code, int) or problem.code is None else 1
    text = errors.describe(problem)
    sys.stdout.flush()
    if text:
        print(text, file=sys.stderr)
    if isinstance(problem, errors.UsageError):
        print(f"See '{command_path} -h' for help and examples", file=sys.stderr)
    return errors.exit_code(problem)


def _click_words(problem: click.UsageError) -> str:
    if isinstance(problem, click.NoSuchOption):
        name = problem.option_name
        if name.startswith("--"):
            return f"unknown flag: {name}"
        return f"unknown shorthand flag: '{name.lstrip('-')}' in {name}"
    if isinstance(problem, click.BadOptionUsage) and "requires an argument" in problem.message:
        name = problem.option_name
        if name.startswith("--"):
            return f"flag needs an argument: {name}"
        return f"flag needs an argument: '{name.lstrip('-')}' in {name}"
    if isinstance(problem, click.MissingParameter) and problem.param is not None:
        name = max(problem.param.opts, key=len).lstrip("-")
        return f'required flag(s) "{name}" not set'
    if isinstance(problem, click.BadParameter) and problem.param is not None:
        given = re.match(r"'(.*)' is not a valid integer", problem.message, re.S)
        if given:
            text = given.group(1)
            return (
                f'invalid argument "{text}" for "{_flag_title(problem.param)}" flag: '
                f'strconv.ParseInt: parsing "{text}": invalid syntax'
            )
        return f'invalid argument for "{_flag_title(problem.param)}" flag: {problem.message}'
    return problem.format_message()
