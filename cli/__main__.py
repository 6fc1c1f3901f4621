"""`python -m cli`: the same as `pykubectl`."""

from cli.main import main

main()
