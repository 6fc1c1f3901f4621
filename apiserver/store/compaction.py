"""Compaction: etcd keeps every version until it is told that nobody needs the old ones any more."""

from __future__ import annotations

import asyncio
import logging

from apiserver.store import Unavailable
from apiserver.store.etcd import EtcdStore

log = logging.getLogger(__name__)


async def compact_forever(store: EtcdStore, interval: float) -> None:
    """Each round compacts up to the revision of the round before: watchers have `interval` seconds to catch up."""
    turn, revision = 0, 0
    while True:
        await asyncio.sleep(interval)
        try:
            turn, revision = await store.compaction_turn(turn, revision)
        except Unavailable as error:
            log.warning("compaction failed: %s", error)
