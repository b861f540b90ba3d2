"""Time as simulated lanes see it: it stands still while the study decides, and jumps to the next event."""

from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    seconds = 0.0
    """Since the study began."""

    def now(self) -> str:
        """As study.records.now."""
        return (BEGINNING + timedelta(seconds=self.seconds)).isoformat(timespec="seconds")
