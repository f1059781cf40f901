"""How long explaining may take."""

from __future__ import annotations

import time


class Budget:
    """Seconds that are used up as time goes by.

    Args:
        seconds: how many there are.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds that are left, 0 at the end."""
        return max(0.0, self.seconds - self.spent)

    @property
    def spent(self) -> float:
        """Seconds that went by."""
        return time.monotonic() - self._start
