"""Programs that run one input, as often as they are told: a shell's loop over an input list makes them a `Backend`.

benchmark_model and executor_runner are of this kind; the vendor's programs and our runner read the list themselves.
"""

from collections.abc import Mapping

from bilayer.android_harness.device.workspace import OUT
from bilayer.runtime.bundle import Contract

TIMED_LISTS = ("warm.txt", "timed.txt", "layers.txt")  # of bench/run.py: whose results nobody reads
POSE = '"${line#*:=}"'  # for the shell: the input of the list's present line
PLACE = f'"{OUT}/Result_$n"'  # the folder of its results, without a slash at the end


def over_list(input_list: str, once: str, timed: str) -> str:
    """Return the shell's command for an input list.

    Args:
        input_list: its name; of TIMED_LISTS the first line's input alone is run, $count times in one process.
        once: the command that runs POSE and writes to PLACE.
        timed: the command that runs POSE $count times.
    """
    if input_list in TIMED_LISTS:  # exec: what is stopped, where it hangs, is then the program itself
        return f"{{ read -r line < {input_list}; count=$(grep -c . {input_list}); exec {timed}; }}"
    each = f"mkdir {PLACE} && {once} < /dev/null || exit 1; n=$((n + 1))"
    return f"{{ n=0; while read -r line; do {each}; done < {input_list}; }}"


def output_bytes(contract: Contract) -> dict[str, int]:
    """Return the size of each output tensor by its name, in the order in which bilayer-export writes them."""
    results = contract.outputs.by_name.values()
    channels = {one.tensor: max(other.stop for other in results if other.tensor == one.tensor) for one in results}
    return {name: 4 * count * contract.image_size**2 for name, count in channels.items()}


def split(file: str, sizes: Mapping[str, int]) -> str:
    """Return the shell's command that cuts a file of all output tensors into one of each, in PLACE."""
    (first, *others) = sizes
    if not others:
        return f"mv {PLACE}/{file} {PLACE}/{first}.raw"
    commands, start = [], 1
    for name, size in sizes.items():
        commands.append(f"tail -c +{start} {PLACE}/{file} | head -c {size} > {PLACE}/{name}.raw")
        start += size
    return " && ".join([*commands, f"rm {PLACE}/{file}"])
