"""Writing a status that differs from the one that the cache shows."""

from __future__ import annotations

from typing import Any

from api import codec, errors
from client.api import Api


async def write(api: Api, obj: Any, status: Any) -> None:
    """Replace the status of `obj` unless it is the same; one that is gone needs none. Raises StatusError."""
    if status == obj.status:
        return
    changed = codec.deepcopy(obj)
    changed.status = status
    try:
        await api.update_status(changed)
    except errors.StatusError as error:
        if not errors.is_not_found(error):
            raise
