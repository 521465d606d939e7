"""minidiff play, with a note of each address that the process connects to or looks up.

python watched.py NOTES WORDS …
"""

import sys
from pathlib import Path

notes = Path(sys.argv[1])


def note(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        place = args[1][0]
    elif event == "socket.getaddrinfo":
        place = args[0]
    else:
        return
    with notes.open("a", encoding="utf-8") as file:
        print(place, file=file)


sys.addaudithook(note)

from minidiff.commands import main  # noqa: E402

main(["play", *sys.argv[2:]])
