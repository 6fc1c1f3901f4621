"""Any kind: its fields as indented text."""

from __future__ import annotations

import re
from typing import Any

from cli.describe.inspector import Inspector
from cli.describe.text import Text
from cli.errors import Object
from cli.printers.columns import go_value

SKIP = {f".metadata.{key}" for key in ("managedFields", "name", "namespace", "labels", "annotations")}
ACRONYMS = {"api": "API", "url": "URL", "uid": "UID", "osb": "OSB", "guid": "GUID"}


async def describe(text: Text, obj: Object, inspector: Inspector) -> None:
    text.field("Name", obj["metadata"].get("name", ""))
    text.field("Namespace", obj["metadata"].get("namespace", ""))
    text.labels("Labels", obj["metadata"].get("labels"))
    text.annotations("Annotations", obj["metadata"].get("annotations"))
    _content(text, 0, obj, "")
    text.events(await inspector.events(obj))


def _content(text: Text, level: int, content: Object, prefix: str) -> None:
    for key in sorted(content):
        value: Any = content[key]
        where = f"{prefix}.{key}"
        if where in SKIP:
            continue
        if isinstance(value, dict):
            text.line(level, f"{label_for(key)}:")
            _content(text, level + 1, value, where)
        elif isinstance(value, list):
            text.line(level, f"{label_for(key)}:")
            for child in value:
                if isinstance(child, dict):
                    _content(text, level + 1, child, where)
                else:
                    text.line(level + 1, go_value(child))
        else:
            text.field(label_for(key), go_value(value), level)


def label_for(field: str) -> str:
    """`lastTransitionTime` -> `Last Transition Time`; a field with a dot or dash is left as it is."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+|[^A-Za-z0-9]+", field)
    out = []
    for word in words:
        low = word.lower()
        out.append(ACRONYMS.get(low, word[:1].upper() + word[1:]))
    return " ".join(out)
