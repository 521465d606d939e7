"""Ctrl-C and SIGTERM as requests: the step under way ends, and what was done is written."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether somebody asked the run to stop, and by which signal."""

    signal: int | None = None
    interrupts = 0

    def __bool__(self) -> bool:
        return self.signal is not None

    def take(self, number: int, frame: Any) -> None:
        """What a signal does; the third Ctrl-C interrupts at once."""
        self.signal = number
        if number == signal.SIGINT:
            self.interrupts += 1
            if self.interrupts > 2:
                raise KeyboardInterrupt

    def obey(self, message: str) -> None:
        """KeyboardInterrupt after Ctrl-C; after SIGTERM the process ends, as it was told to."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt(message)
        if self.signal == signal.SIGTERM:
            print(f"\n{message}", file=sys.stderr)
            raise SystemExit(128 + signal.SIGTERM)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """A block in which signals only ask. One that was ignored before stays ignored."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # no other thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = [number for number in _SIGNALS if before[number] not in (signal.SIG_IGN, None)]
    try:
        for number in taken:
            signal.signal(number, request.take)
        yield request
    finally:
        for number in taken:
            signal.signal(number, before[number])
