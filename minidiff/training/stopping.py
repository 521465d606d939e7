"""Ctrl-C and what ends a process as requests: the step under way ends, what was done is written.

SIGTERM is sent by whoever shuts a machine down, SIGHUP by a terminal that is closed.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .. import distributed

_ENDING = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
_SIGNALS = [signal.SIGINT, *_ENDING]


class StopRequest:
    """Whether somebody asked the run to stop, and by which signal."""

    signal: int | None = None
    interrupts = 0

    def __bool__(self) -> bool:
        """Whether any rank was asked; all ranks must ask in the same places."""
        self.signal = distributed.largest(self.signal or 0) or None
        return self.signal is not None

    def take(self, number: int, frame: Any) -> None:
        """What a signal does; the third Ctrl-C interrupts at once."""
        self.signal = number
        if number == signal.SIGINT:
            self.interrupts += 1
            if self.interrupts > 2:
                raise KeyboardInterrupt

    def obey(self, message: str) -> None:
        """KeyboardInterrupt after Ctrl-C; after others the process ends, as it was told to."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt(message)
        if self.signal in _ENDING:
            with suppress(OSError):  # the terminal may be gone
                print(f"\n{message}", file=sys.stderr)
            raise SystemExit(128 + self.signal)


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
