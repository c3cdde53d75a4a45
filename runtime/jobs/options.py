"""The options of commands that do many jobs."""

from dataclasses import dataclass
from typing import Annotated

from bilayer.runtime.command.options import Option, refuse_typed
from bilayer.runtime.jobs.run import Workers, usual_processes


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Who does the jobs: so many processes, or a cluster.

    Raises:
        UsageError: the running command was given both in words.
    """

    jobs: Annotated[int | None, Option("Processes.", at_least=1, at_most=1024, default="by cores and memory")] = None
    ray: Annotated[
        str | None,
        Option("Do it on this Ray cluster: auto, HOST:PORT or ray://HOST:PORT (extra [ray]).", metavar="ADDRESS"),
    ] = None

    def __post_init__(self) -> None:
        """See at once, in every command that has both, that one is not given beside the other."""
        if self.ray is not None:
            refuse_typed("--ray takes the cluster's processors", ["jobs"])

    def workers(self, jobs: int, each: int = 0) -> Workers:
        """Return who does so many jobs, where a process takes `each` bytes of memory."""
        return Workers(max(1, min(self.jobs or usual_processes(each), jobs)), self.ray)
