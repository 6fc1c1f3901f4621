"""Identifiers are version 4 UUIDs, each unlike all others, also in processes that split in two."""

from __future__ import annotations

import multiprocessing
import uuid
from multiprocessing.queues import Queue

from apiserver import ids


def test_they_are_random_uuids_and_all_different() -> None:
    made = [ids.uuid4() for _ in range(2_000)]
    assert len(set(made)) == len(made)
    for text in made:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)


def _some(queue: Queue[list[str]]) -> None:
    queue.put([ids.uuid4() for _ in range(100)])


def test_a_child_does_not_repeat_those_of_its_parent() -> None:
    ids.uuid4()
    context = multiprocessing.get_context("fork")
    queue: Queue[list[str]] = context.Queue()
    child = context.Process(target=_some, args=(queue,))
    child.start()
    theirs = queue.get(timeout=30)
    child.join()
    assert set(theirs).isdisjoint(ids.uuid4() for _ in range(100))
