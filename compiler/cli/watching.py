"""What `dlc train --watch` adds: a server of the run's curves, from the first update to the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlc.runtime.callbacks import Callback, Record, Start
from dlc.runtime.failures import Error

from . import report

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile

    from ..reports.watch import Watch


class Watching(Callback):
    """Says where the page is; it reads what the run notes, so that training is the same with it."""

    of_members = True

    def __init__(self, file: CompiledFile) -> None:
        self.file = file
        self.watch: Watch | None = None

    def on_start(self, start: Start) -> None:
        if self.watch is None and start.run is not None:
            from ..reports.watch import Watch

            try:
                self.watch = Watch(start.run, self.file)
            except OSError as problem:
                raise Error(
                    "E0790", "the page cannot be served", notes=[str(problem)], help="leave `--watch` out"
                ) from None
            report.note(f"watch  {self.watch.address}")

    def on_member(self, record: Record) -> None:
        """Its figures are in the run."""

    def close(self) -> None:
        """Training ended, well or not."""
        if self.watch is not None:
            self.watch.close()
