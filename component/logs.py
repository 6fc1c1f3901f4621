"""Log lines as people who run Kubernetes know them (klog), or as JSON objects (upstream's `--logging-format=json`)."""

from __future__ import annotations

import json
import logging
import sys
import time

_LETTERS = {logging.DEBUG: "I", logging.INFO: "I", logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "F"}


class TextFormatter(logging.Formatter):
    """`I0102 15:04:05.000000    1234 file.py:42] message`"""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        micros = int(record.created % 1 * 1_000_000)
        head = f"{_LETTERS.get(record.levelno, 'I')}{moment}.{micros:06d} {record.process or 0:7d}"
        text = f"{head} {record.name.replace('.', '/')}.py:{record.lineno}] {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class JsonFormatter(logging.Formatter):
    """`{"ts": 1700000000000.0, "level": "info", "caller": "file.py:42", "msg": "..."}`; `ts` is in milliseconds."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "ts": record.created * 1000,
            "level": record.levelname.lower(),
            "caller": f"{record.name.replace('.', '/')}.py:{record.lineno}",
            "msg": record.getMessage(),
        }
        if record.exc_info:
            entry["err"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def setup(level: str, style: str) -> None:
    """Log to standard error, nothing else; libraries below warning are silent."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for library in ("aiohttp.access", "asyncio", "docker", "urllib3", "grpc"):
        logging.getLogger(library).setLevel(logging.WARNING)
