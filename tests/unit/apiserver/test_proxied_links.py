"""What pods answer through the API server: pages whose links stay inside, whatever the pod is called."""

from __future__ import annotations

import gzip
import json
import zlib

import aiohttp
import pytest
from aiohttp import web

from api.types.core_v1 import Container, Pod, PodSpec
from api.types.meta_v1 import ObjectMeta
from apiserver.rest.streams.links import Links
from apiserver.server import Server
from client.api import Api
from tests.support.ports import free_port

LINKS = Links("/p", "10.0.0.1:80", "api:6443")


@pytest.mark.parametrize(
    ("target", "changed"),
    [
        ("/x?y=1#z", "/p/x?y=1#z"),
        ("/x/", "/p/x/"),
        ("x", "x"),
        ("#z", "#z"),
        ("http://10.0.0.1:80/x", "/p/x"),
        ("https://api:6443/x", "https://api:6443/p/x"),
        ("https://elsewhere/x", "https://elsewhere/x"),
        ("/p/x", "/p/x"),
        ("mailto:a@b", "mailto:a@b"),
        ("http://[", "http://["),
    ],
)
def test_links_to_the_same_server(target: str, changed: str) -> None:
    assert LINKS.link(target) == changed


def test_only_links_change_in_a_page() -> None:
    page = (
        "<!DOCTYPE html>\n<!-- <a href='/no'> -->\n<A class=b HREF='/x?a=1&amp;b=2' hidden>&copy;\n"
        '<img src="/i.png"/><p title="/no">/no</p><script src="/s.js">if (a<b) "<a href=\'/no\'>"</script></A>'
    )
    changed = LINKS.page(page.encode(), "").decode()
    assert changed == (
        '<!DOCTYPE html>\n<!-- <a href=\'/no\'> -->\n<a class="b" href="/p/x?a=1&amp;b=2" hidden>&copy;\n'
        '<img src="/p/i.png"/><p title="/no">/no</p><script src="/p/s.js">if (a<b) "<a href=\'/no\'>"</script></A>'
    )
    assert gzip.decompress(LINKS.page(gzip.compress(b'<a href="/x">'), "gzip")) == b'<a href="/p/x">'
    packer = zlib.compressobj(wbits=-15)
    deflated = packer.compress(b'<a href="/x">') + packer.flush()
    assert zlib.decompress(LINKS.page(deflated, "deflate"), -15) == b'<a href="/p/x">'
    assert LINKS.page(b"\xff\x00", "br") == b"\xff\x00"
    assert LINKS.page(b'\xff<a href="/x">', "") == b'\xff<a href="/p/x">'
    with pytest.raises(ValueError, match="gzip"):
        LINKS.page(b"plain", "gzip")


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    if request.path == "/":
        return web.Response(text='<a href="/x">x</a>', content_type="text/html")
    if request.path == "/away":
        return web.Response(status=302, headers={"Location": "/x"})
    said = {"target": request.raw_path, "uri": request.headers.get("X-Forwarded-Uri")}
    return web.json_response({**said, "for": request.headers.get("X-Forwarded-For")})


async def test_a_pod_that_is_called_proxy(api_server: Server, api: Api) -> None:
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    spec = PodSpec(containers=[Container(name="main", image="x")])
    await api.create(Pod(metadata=ObjectMeta(name="proxy-web", namespace="default"), spec=spec))
    status = {"status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
    await api.patch(Pod, "proxy-web", status, namespace="default", subresource="status")
    base = f"/api/v1/namespaces/default/pods/proxy-web:{port}/proxy"
    url = api_server.rest_url + base
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{url}/") as page:
            assert await page.text() == f'<a href="{base}/x">x</a>'
        async with http.get(f"{url}/away", allow_redirects=False) as moved:
            assert (moved.status, moved.headers["Location"]) == (302, f"{base}/x")
        async with http.get(f"{url}/proxy/a%2Fb?c=%20") as page:
            said = json.loads(await page.read())
        assert said == {"target": "/proxy/a%2Fb?c=%20", "uri": f"{base}/proxy/a%2Fb", "for": "127.0.0.1"}
        async with http.get(f"{url}?a=1", allow_redirects=False) as moved:
            assert (moved.status, moved.headers["Location"]) == (301, f"{base}/?a=1")
        async with http.post(url, data=b"") as page:
            assert page.status == 200
    await runner.cleanup()
