"""SIGINT and SIGTERM ask a run to stop after the step that it is in; one that comes later stops at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupts"]

SOON = 2.0  # seconds; launchers pass a Ctrl-C on that the terminal has given to all, so that it comes twice


class Interrupts:
    """Within it, signals are remembered in `received` instead of ending the process.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    received: int | None = None

    def __enter__(self) -> Self:
        self._before: dict[int, Any] = {}
        self._process = os.getpid()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a data worker inherits this handler: Ctrl-C is its parent's affair
            if number == signal.SIGTERM:
                os._exit(0)
            return
        if self.received is None:
            self.received, self._first = number, time.monotonic()
        elif time.monotonic() - self._first >= SOON:
            raise KeyboardInterrupt
