"""What server-side apply makes of a live object: the configuration over it, minus what nobody wants any more."""

from __future__ import annotations

from typing import Any

from api.schema import NO_MERGE, Merge, Node
from apiserver.apply.fieldset import Tree, children, is_member
from apiserver.apply.walk import below, item_key, shape, value_key


def merged(live: Any, config: Any, node: Node | None, merge: Merge = NO_MERGE) -> Any:
    """The live value with everything the configuration says; order of lists is the live one's, new items last."""
    kind = shape(node, merge, config)
    if kind == "leaf" or shape(node, merge, live) != kind:
        return config
    if kind == "fields":
        result = dict(live)
        for key, value in config.items():
            schema, rules = below(node, key)
            if value is None:
                continue
            result[key] = merged(live[key], value, schema, rules) if key in live else value
        return result
    if kind == "set":
        known = {value_key(item) for item in live}
        return [*live, *(item for item in config if value_key(item) not in known)]
    assert node is not None
    wanted = {item_key(item, merge): item for item in config}
    result_list = []
    for item in live:
        key = item_key(item, merge)
        result_list.append(merged(item, wanted.pop(key), node.element) if key in wanted else item)
    return [*result_list, *wanted.values()]


_GONE = object()


def pruned(value: Any, last: Tree, keep: Tree, node: Node | None, merge: Merge = NO_MERGE) -> Any:
    """The value without what was in `last` and is not in `keep` (what is applied now, and what others manage)."""
    kind = shape(node, merge, value)
    if kind == "leaf":
        return value
    if kind == "fields":
        result = {}
        for key, item in value.items():
            schema, rules = below(node, key)
            kept = _part(item, f"f:{key}", last, keep, schema, rules)
            if kept is not _GONE:
                result[key] = kept
        return result
    assert node is not None
    items = []
    for item in value:
        key = item_key(item, merge) if kind == "keyed" else value_key(item)
        element = node.element if kind == "keyed" else None
        kept = _part(item, key, last, keep, element, NO_MERGE)
        if kept is not _GONE:
            items.append(kept)
    return items


def _part(item: Any, key: str, last: Tree, keep: Tree, node: Node | None, merge: Merge) -> Any:
    if key not in last:
        return item
    if key not in keep:
        if shape(node, merge, item) == "leaf" or is_member(last[key]):
            return _GONE
        made = pruned(item, children(last[key]), {}, node, merge)
        return made if made else _GONE
    return pruned(item, children(last[key]), children(keep[key]), node, merge)
