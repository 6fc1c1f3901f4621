"""Resolves pyproject.toml's dependencies into `requirements.lock` (run time) and `requirements-dev.lock` (all).

The result holds for every Python and platform the project supports (`--universal`). Versions already locked stay unless
`--upgrade` is given.
"""

from __future__ import annotations

import sys

from deploy import wheels
from deploy.machine import ROOT, Problem, run

OLDEST_PYTHON = "3.11"


def main(arguments: list[str]) -> int:
    universal = ["--quiet", "--universal", "--python-version", OLDEST_PYTHON, "--custom-compile-command", "make lock"]
    compile_ = [*wheels.command(), "pip", "compile", *universal, *arguments, str(ROOT / "pyproject.toml")]
    runtime, development = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
    try:
        run([*compile_, "--output-file", str(runtime)], env=wheels.environment())
        dev = ["--group", "dev", "--constraint", str(runtime)]
        run([*compile_, *dev, "--output-file", str(development)], env=wheels.environment())
    except Problem as problem:
        print(f"lock: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
