"""python -m minidiff is the command minidiff."""

from .commands import main

main()
