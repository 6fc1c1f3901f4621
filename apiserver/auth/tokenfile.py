"""Static tokens: `--token-auth-file`, a CSV of token, user name, user uid and, quoted, groups."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

from apiserver.auth import Credentials, User


def _digest(token: str) -> bytes:
    # Looked up by digest, so that the time a look-up takes says nothing about the tokens.
    return hashlib.sha256(token.encode()).digest()


class TokenFileAuthenticator:
    """Read once, at start. Raises ValueError for a malformed file."""

    def __init__(self, path: str | Path) -> None:
        self._users: dict[bytes, User] = {}
        with Path(path).open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file, skipinitialspace=True), start=1):
                if not row or row[0].startswith("#"):
                    continue
                if len(row) < 3:
                    raise ValueError(f"token file '{path}' must have at least 3 columns (token, user name, user uid)")
                token, name, uid = (column.strip() for column in row[:3])
                if not token:
                    raise ValueError(f"empty token in token file '{path}', line {number}")
                groups = tuple(group.strip() for group in row[3].split(",") if group.strip()) if len(row) > 3 else ()
                self._users[_digest(token)] = User(name, uid=uid, groups=groups)

    async def authenticate(self, credentials: Credentials, audiences: Sequence[str] = ()) -> User | None:
        """The token's user, or None for a token that is not in the file."""
        return self._users.get(_digest(credentials.token)) if credentials.token else None
