"""Links in what proxied pods and Services answer: those to the same server lead through the proxy again.

A page of a pod knows nothing of `/api/v1/namespaces/.../proxy`; its absolute links and redirects would leave it.
Source: apimachinery's proxy.Transport, which looks at the same attributes.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

_ATTRIBUTES: dict[str, frozenset[str]] = {
    "a": frozenset({"href"}),
    "applet": frozenset({"codebase"}),
    "area": frozenset({"href"}),
    "audio": frozenset({"src"}),
    "base": frozenset({"href"}),
    "blockquote": frozenset({"cite"}),
    "body": frozenset({"background"}),
    "button": frozenset({"formaction"}),
    "command": frozenset({"icon"}),
    "del": frozenset({"cite"}),
    "embed": frozenset({"src"}),
    "form": frozenset({"action"}),
    "frame": frozenset({"longdesc", "src"}),
    "head": frozenset({"profile"}),
    "html": frozenset({"manifest"}),
    "iframe": frozenset({"longdesc", "src"}),
    "img": frozenset({"longdesc", "src", "usemap"}),
    "input": frozenset({"src", "usemap", "formaction"}),
    "ins": frozenset({"cite"}),
    "link": frozenset({"href"}),
    "object": frozenset({"classid", "codebase", "data", "usemap"}),
    "q": frozenset({"cite"}),
    "script": frozenset({"src"}),
    "source": frozenset({"src"}),
    "video": frozenset({"poster", "src"}),
}
_WINDOW = {"gzip": zlib.MAX_WBITS | 16, "deflate": -zlib.MAX_WBITS, "": 0}


@dataclass(frozen=True)
class Links:
    """`prefix` is the path of the proxy, `backend` host and port of the page's server, `asked` those of this one."""

    prefix: str
    backend: str
    asked: str

    def link(self, target: str) -> str:
        """A URL as the client has to ask for it."""
        try:
            url = urlsplit(target)
        except ValueError:
            return target
        if url.netloc not in ("", self.backend, self.asked) or not url.path.startswith("/"):
            return target
        path = url.path if url.path.startswith(self.prefix) else self.prefix + url.path
        where = (url.scheme, url.netloc) if url.netloc == self.asked else ("", "")
        return urlunsplit((*where, path, url.query, url.fragment))

    def page(self, body: bytes, encoding: str) -> bytes:
        """An HTML document with its links changed, compressed as it was. Raises ValueError if it was not."""
        window = _WINDOW.get(encoding)
        if window is None:
            return body
        try:
            text = zlib.decompress(body, window) if window else body
        except zlib.error as error:
            raise ValueError(f"{encoding}: {error}") from None
        changed = self._changed(text.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        if not window:
            return changed
        packer = zlib.compressobj(wbits=window)
        return packer.compress(changed) + packer.flush()

    def _changed(self, text: str) -> str:
        finder = _Finder(text, self)
        finder.feed(text)
        finder.close()
        pieces, done = [], 0
        for tag in finder.found:
            pieces += [text[done : tag.start], tag.new]
            done = tag.end
        return "".join([*pieces, text[done:]])


class _Tag(NamedTuple):
    start: int
    end: int
    new: str


class _Finder(HTMLParser):
    """Where start tags with links are, and what they become; all other text stays as it is."""

    def __init__(self, text: str, links: Links) -> None:
        super().__init__(convert_charrefs=False)
        self._links = links
        self._lines = [0, *itertools.accumulate(len(line) + 1 for line in text.split("\n"))]
        self.found: list[_Tag] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        urls = _ATTRIBUTES.get(tag)
        raw = self.get_starttag_text()
        if urls is None or raw is None or not any(name in urls and value for name, value in attrs):
            return
        written = [
            name if value is None else f'{name}="{escape(self._links.link(value) if name in urls else value)}"'
            for name, value in attrs
        ]
        line, column = self.getpos()
        start = self._lines[line - 1] + column
        end = "/>" if raw.endswith("/>") else ">"
        self.found.append(_Tag(start, start + len(raw), f"<{' '.join([tag, *written])}{end}"))
