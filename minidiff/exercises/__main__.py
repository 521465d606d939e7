"""minidiff exercises [GROUP or NAME …]      mark the exercises
minidiff exercises copy FOLDER            a student's copy, without the solutions

python -m minidiff.exercises is the same.
"""

import argparse
import difflib
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

WIDTH = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which exercises, and where they are."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="GROUP or NAME",
        help='default: all; "copy FOLDER" makes a student\'s copy, without the solutions',
    )
    parser.add_argument(
        "--folder",
        metavar="FOLDER",
        type=Path,
        help="where the exercises are (default: lessons/exercises, exercises, or here)",
    )


def run(args: argparse.Namespace) -> None:
    """Copy; or mark, and raise SystemExit: 0 where all that was asked for is done, else 1."""
    if args.words[:1] == ["copy"]:
        copy(args.folder, args.words[1:])
    else:
        all_done = show(args.folder, args.words)
        raise SystemExit(0 if all_done else 1)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m minidiff.exercises",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    args = parser.parse_args(words)
    try:
        run(args)
    except (OSError, ValueError, ImportError) as error:
        print(f"minidiff.exercises: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def copy(folder: Path | None, words: list[str]) -> None:
    from .folders import copied, found

    if len(words) != 1:
        raise ValueError(
            f"copy: given {len(words)} folders, wanted one, such as copy class_of_2027"
        )
    print(f"written: {copied(found(folder), Path(words[0]))}, without solutions")


def show(folder: Path | None, words: list[str]) -> bool:
    """Mark and print the table; gives whether all are done."""
    from .all_groups import EXERCISES
    from .folders import found, marks

    place = found(folder)
    names = chosen(words)
    counts: Counter[str] = Counter()
    group = ""
    for marked in marks(place, [EXERCISES[name] for name in names]):
        if EXERCISES[marked.name].group != group:
            group = EXERCISES[marked.name].group
            print(f"{place / group}.py")
        print(row(marked.name, marked.state, marked.message), flush=True)
        counts[marked.state] += 1
    print(", ".join(f"{counts[state]} {state}" for state in ("done", "wrong", "empty")))
    return counts["done"] == len(names)


def row(name: str, state: str, message: str) -> str:
    """A line of the table; a message that is long goes on below where it began."""
    start = f"  {name:20} {state:6} "
    return (
        textwrap.fill(message, WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
        or start.rstrip()
    )


def chosen(words: list[str]) -> list[str]:
    """The names of the exercises that these groups and names mean; all if there are no words.

    Raises ValueError for a word that is neither.
    """
    from .all_groups import EXERCISES, GROUPS, of_group

    names: dict[str, None] = {}
    for word in words or GROUPS:
        if word in GROUPS:
            names |= dict.fromkeys(each.name for each in of_group(word))
        elif word in EXERCISES:
            names[word] = None
        else:
            near = difflib.get_close_matches(word, [*GROUPS, *EXERCISES], n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"given {word!r}, wanted a group ({', '.join(GROUPS)}) or the name of an exercise"
                f"{meant}"
            )
    return list(names)


if __name__ == "__main__":
    main()
