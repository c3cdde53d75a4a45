"""How a driver is followed, as options of a command; loads no library, so that --help need not."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import click

from bilayer.runtime.command.options import Option
from bilayer.runtime.vocabulary import RetargetMode

if TYPE_CHECKING:
    from bilayer.runtime.motion.retarget import Gains


@dataclass(frozen=True)
class DrivingOptions:
    """How much of a driver's motion is taken over, and how smoothly."""

    smoothing: Annotated[
        float | None,
        Option(
            "0 none to 1 most; delays slow motion by 20 to 398 ms, 188 at 0.75 (docs/motion.md).",
            at_least=0,
            at_most=1,
            default="0.75 for a webcam, 0 for files",
        ),
    ] = None
    head_gain: Annotated[float, Option("How much of the head's motion is taken over.", at_least=0, at_most=4)] = 1.0
    mouth_gain: Annotated[float, Option("The same of lips and jaw.", at_least=0, at_most=4)] = 1.0
    eyes_gain: Annotated[float, Option("The same of the lids.", at_least=0, at_most=4)] = 1.0
    hold_head: Annotated[bool, Option("The head stands still; only lids, lips and jaw move: --head-gain 0.")] = False

    def amount(self, live: bool) -> float:
        """Return how much is smoothed: as asked for, else LIVE_SMOOTHING of a camera, which trembles, 0 of a file."""
        from bilayer.runtime.motion.smoothing import LIVE_SMOOTHING

        return self.smoothing if self.smoothing is not None else LIVE_SMOOTHING if live else 0.0

    @property
    def gains(self) -> "Gains":
        """How much of the driver's motion is taken over."""
        from bilayer.runtime.motion.retarget import Gains

        return Gains(0.0 if self.hold_head else self.head_gain, self.mouth_gain, self.eyes_gain)

    def check(self, mode: RetargetMode) -> None:
        """See what can be seen without a library: a UsageError of gains that contradict each other, or the mode."""
        if self.hold_head and self.head_gain not in (0, 1):
            raise click.UsageError("give either --hold-head or --head-gain")
        gained = self.hold_head or (self.head_gain, self.mouth_gain, self.eyes_gain) != (1, 1, 1)
        if gained and mode == "absolute":
            raise click.UsageError("--retarget absolute takes landmarks as they are; gains need relative or procrustes")
