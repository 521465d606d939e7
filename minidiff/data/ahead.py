"""Reading beside training: a thread makes the next things while one is worked on."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_AHEAD = 2  # so many at most: they are in memory at once
_END = object()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items in their order, made by a thread that is up to two ahead.

    What the making of one raises is raised where that one would have come. When nobody asks for
    more, the thread ends.
    """
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reading")
    try:
        made = deque(thread.submit(next, items, _END) for _ in range(_AHEAD))
        while (item := made.popleft().result()) is not _END:
            made.append(thread.submit(next, items, _END))
            yield item  # type: ignore[misc]
    finally:
        thread.shutdown(cancel_futures=True)
