"""YAML as sigs.k8s.io/yaml writes it, so that output can be compared with kubectl's byte for byte.

PyYAML and go-yaml descend from the same emitter; they differ in how a string that looks like another type is quoted.
"""

from __future__ import annotations

import re
from typing import Any

# What go-yaml's resolver (YAML 1.1 plus base 60, dates and old booleans) would read as something else than text.
_AMBIGUOUS = re.compile(
    r"""^(?:
      ~ | null | Null | NULL | true | True | TRUE | false | False | FALSE
    | y | Y | yes | Yes | YES | on | On | ON | n | N | no | No | NO | off | Off | OFF
    | [-+]?0b[0-1_]+ | [-+]?0o?[0-7_]+ | [-+]?0x[0-9a-fA-F_]+ | [-+]?[0-9][0-9_]*
    | [-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?
    | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?
    | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN)
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?
      (?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)?
    )?$""",
    re.X,
)
_DUMPER: list[Any] = []


def _dumper() -> Any:
    if _DUMPER:
        return _DUMPER[0]
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, data: str) -> Any:
        style = None
        if "\n" in data:
            style = "|"
        elif _AMBIGUOUS.match(data):
            style = '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def number(dumper: Any, data: float) -> Any:
        shown = repr(data)
        if data.is_integer() and abs(data) < 1e21:
            shown = str(int(data))
        return dumper.represent_scalar("tag:yaml.org,2002:float", shown)

    Dumper.add_representer(str, text)
    Dumper.add_representer(float, number)
    Dumper.yaml_implicit_resolvers = dict(base.yaml_implicit_resolvers)
    for char in "=<":
        # go-yaml writes `=` and `<<` plain as values.
        Dumper.yaml_implicit_resolvers.pop(char, None)
    _DUMPER.append(Dumper)
    return Dumper


def to_yaml(value: Any) -> str:
    import yaml

    dumped: str = yaml.dump(
        value, Dumper=_dumper(), default_flow_style=False, allow_unicode=True, width=80, sort_keys=True
    )
    return dumped
