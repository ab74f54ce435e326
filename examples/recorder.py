"""Records both sides of calls as they were heard: the caller left, the agent right.

    mediaserver serve examples.recorder:RECORDED
    mediaserver call ws://127.0.0.1:8000/stream --audio in.wav --press "*@2" --press "*@4"

The file in recordings/ grows during the call. The star key pauses it, as for card numbers.
"""

from mediaserver.agents import Parrot
from mediaserver.agents.recording.recorder import recorded
from mediaserver.agents.recording.recording import Recording


class Desk(Parrot):
    """Repeats what the caller said; any agent is recorded in the same way."""

    recording: Recording

    def __init__(self) -> None:
        super().__init__()
        self.paused = False

    async def on_dtmf(self, digit: str) -> None:
        """Pause the recording from one star to the next."""
        if digit != "*":
            await super().on_dtmf(digit)
            return
        self.paused = not self.paused
        if self.paused:
            self.recording.pause()
        else:
            self.recording.resume()


RECORDED = recorded(Desk, "recordings/{time:%Y-%m-%d}/{call_id}.flac")
