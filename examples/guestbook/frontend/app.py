"""The guestbook's web frontend: one page with the entries, a form, and which pod on which node answered.

Settings come from the environment: GREETING (a ConfigMap), REDIS_PASSWORD (a Secret), POD_NAME, POD_IP and NODE_NAME
(the pod's own fields). Entries live in Redis, found under the DNS name of its Service.
"""

from __future__ import annotations

import asyncio
import html
import os
import signal
from datetime import UTC, datetime

from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

VERSION = os.environ.get("VERSION", "v1")
COLOURS = {"v1": "#326ce5", "v2": "#c2410c"}
KEPT = 50
LONGEST = 200

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{greeting}</title>
<style>
 body {{ font: 17px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 0 auto; padding: 1rem; color: #1f2937 }}
 header {{ background: {colour}; color: #fff; padding: 1rem 1.5rem; border-radius: .6rem }}
 h1 {{ margin: 0 }} form {{ display: flex; gap: .5rem; margin: 1.5rem 0 }}
 input {{ flex: 1; font: inherit; padding: .5rem }} button {{ font: inherit; padding: .5rem 1rem }}
 li {{ margin: .3rem 0 }} time {{ color: #6b7280; font-size: .85rem }}
</style>
<header><h1>{greeting}</h1>{version}: answered by pod <b>{pod}</b> ({ip}) on node <b>{node}</b></header>
<form method="post"><input name="entry" maxlength="{longest}" placeholder="Leave a word" autofocus required>
<button>Sign</button></form>
<ul>{entries}</ul>
</html>
"""


class Guestbook:
    """The handlers, around one connection pool to Redis."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def page(self, request: web.Request) -> web.Response:
        entries = await self.redis.lrange("entries", 0, KEPT - 1)
        return web.Response(text=render(entries), content_type="text/html", headers=identity())

    async def sign(self, request: web.Request) -> web.Response:
        form = await request.post()
        entry = str(form.get("entry", "")).strip()[:LONGEST]
        if not entry:
            raise web.HTTPBadRequest(text="an entry needs text\n")
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        await self.redis.lpush("entries", f"{stamp}|{entry}")
        await self.redis.ltrim("entries", 0, KEPT - 1)
        raise web.HTTPSeeOther("/")

    async def whoami(self, request: web.Request) -> web.Response:
        who = {name.removeprefix("X-").lower(): value for name, value in identity().items()}
        return web.json_response(who, headers=identity())

    async def healthz(self, request: web.Request) -> web.Response:
        """Ready as long as Redis answers: a frontend that can't show entries should get no visitors."""
        try:
            async with asyncio.timeout(1):
                await self.redis.ping()
        except (RedisError, OSError, TimeoutError) as error:
            return web.Response(status=503, text=f"redis: {error}\n")
        return web.Response(text="ok\n")


def identity() -> dict[str, str]:
    return {
        "X-Pod": os.environ.get("POD_NAME", "?"),
        "X-Pod-IP": os.environ.get("POD_IP", "?"),
        "X-Node": os.environ.get("NODE_NAME", "?"),
        "X-Version": VERSION,
    }


def render(entries: list[str]) -> str:
    lines = []
    for entry in entries:
        stamp, _, text = entry.partition("|")
        lines.append(f"<li>{html.escape(text)} <time>{html.escape(stamp)}</time></li>")
    who = identity()
    return PAGE.format(
        greeting=html.escape(os.environ.get("GREETING", "Guestbook")),
        colour=COLOURS.get(VERSION, "#15803d"),
        version=VERSION,
        pod=html.escape(who["X-Pod"]),
        ip=html.escape(who["X-Pod-IP"]),
        node=html.escape(who["X-Node"]),
        longest=LONGEST,
        entries="\n".join(lines) or "<li>Nobody has signed yet.</li>",
    )


async def main() -> None:
    redis: Redis = Redis(
        host=os.environ.get("REDIS_HOST", "redis"),
        password=os.environ.get("REDIS_PASSWORD"),
        decode_responses=True,
        socket_timeout=2,
        socket_connect_timeout=2,
    )
    book = Guestbook(redis)
    app = web.Application()
    app.router.add_get("/", book.page)
    app.router.add_post("/", book.sign)
    app.router.add_get("/whoami", book.whoami)
    app.router.add_get("/healthz", book.healthz)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, port=8080).start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    # being taken out of the Service reaches the nodes a moment after SIGTERM reaches us
    await asyncio.sleep(float(os.environ.get("LINGER_SECONDS", "2")))
    await runner.cleanup()
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main())
