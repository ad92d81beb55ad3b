"""`python -m fgcli`: the same as `fg`."""

from fgcli.cli import main

main()
