"""Revisions of a store that writes several keys in one transaction of etcd.

etcd gives all of them the same revision. A watch that breaks off between two such changes could then not be resumed:
"everything after N" would leave out the rest of N. So a revision of ours is etcd's times 128 plus the place within the
transaction. The last place (127) stands for the whole of etcd's revision: it is that of every write that was alone in
its transaction, of the last one of several, and of the store as such. Revisions stay unique and in the order of writes.

What a key was written by is known from etcd (`mod_revision`); its place, if it is not the last, stands in front of its
value: a zero byte and the place. Neither JSON nor anything encrypted begins with a zero byte; what does is marked, too.
"""

from __future__ import annotations

_BITS = 7
LAST = (1 << _BITS) - 1
MOST = 64  # writes in one transaction; etcd's --max-txn-ops is 128
_MARK = b"\0"


def revision(of_etcd: int, at: int = LAST) -> int:
    """Our revision of the write at this place, or when everything of etcd's has happened."""
    return of_etcd << _BITS | at


def of_etcd(ours: int) -> int:
    """The revision of etcd that ours is part of."""
    return ours >> _BITS


def places(writes: int) -> list[int]:
    """Of so many writes in one transaction."""
    return [*range(writes - 1), LAST]


def packed(value: bytes, at: int = LAST) -> bytes:
    """A value as etcd keeps it."""
    return value if at == LAST and not value.startswith(_MARK) else b"%b%c%b" % (_MARK, at, value)


def unpacked(kept: bytes, mod_revision: int) -> tuple[bytes, int]:
    """The value, and the revision of its write."""
    if kept.startswith(_MARK):
        return kept[2:], revision(mod_revision, kept[1])
    return kept, revision(mod_revision)
