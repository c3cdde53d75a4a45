"""The paper's protocol: which frames of a dataset are a source, and which are to be made of it (section 4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reading import StrPath
from bilayer.runtime.files.stores import is_url
from bilayer.runtime.vocabulary import Split
from bilayer.training.data.frame_stores import StoredSequence, list_stored
from bilayer.training.data.layout import FrameSequence, list_sequences

Listed = TypeVar("Listed", FrameSequence, StoredSequence)


@dataclass(frozen=True)
class EvaluationProtocol:
    """Which people and frames of a dataset are evaluated; the defaults are the paper's protocol (section 4)."""

    split: Split = "test"
    identities: int = 50  # people, one sequence of each
    every: int = 25  # frames from one target to the next: 1 FPS of a video of 25, as VoxCeleb2's are


PAPER_PROTOCOL = EvaluationProtocol()


def choose_sequences(data: StrPath, protocol: EvaluationProtocol) -> Sequence[FrameSequence | StoredSequence]:
    """Return the first sequence long enough for a target, of each of the first people in sorted order.

    `data` is a folder, or the URL of one in a store.

    Raises:
        InputError: no data, or no sequence is long enough.
    """
    if is_url(str(data)):
        stored = list_stored(str(data), protocol.split)
        return _choose(data, protocol, stored, lambda sequence: len(sequence.names))
    here = list_sequences(Path(data), protocol.split)
    return _choose(data, protocol, here, lambda sequence: len(sequence.pictures()))


def _choose(
    data: StrPath, protocol: EvaluationProtocol, sequences: Sequence[Listed], length: Callable[[Listed], int]
) -> list[Listed]:
    chosen: dict[str, Listed] = {}
    for sequence in sequences:
        if len(chosen) == protocol.identities:
            break
        if sequence.person not in chosen and length(sequence) > protocol.every:
            chosen[sequence.person] = sequence
    if not chosen:
        raise InputError(
            f"{data}: {protocol.split}: expected a sequence of more than {protocol.every} frames, found none; "
            "take targets more often (--every)"
        )
    return list(chosen.values())
