"""Runs `nft`: one atomic transaction a call."""

from __future__ import annotations

import asyncio


class NftError(Exception):
    """nft refused a transaction, and nothing of it was applied; str() is what it printed."""


async def apply(script: str) -> None:
    """Apply `script` in one transaction. Raises `NftError`; then nothing has changed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "nft", "-f", "-", stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate(script.encode())
    if process.returncode:
        raise NftError(output.decode(errors="replace").strip() or f"nft ended with status {process.returncode}")
