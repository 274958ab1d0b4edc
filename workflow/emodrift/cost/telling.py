"""Telling what a run will take, once, and how far it is, while it lasts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from emodrift.cost.estimate import Estimate, describe, estimate_study
from emodrift.cost.progress import Progress, describe_progress, read_seconds
from emodrift.plan.entries import Plan

BETWEEN_LOOKS = 30.0
"""Seconds between two looks at what is there."""

log = logging.getLogger(__name__)


@dataclass
class Teller:
    """Tells a run's cost and progress. Nothing that goes wrong in it reaches the study.

    Parameters
    ----------
    say
        Tells a line.
    cores
        That jobs may use together.
    elsewhere
        Whether jobs run on other machines.
    pause
        Seconds between two looks.
    """

    say: Callable[[str], None]
    cores: int
    elsewhere: bool = False
    pause: float = BETWEEN_LOOKS
    _latest: tuple[Plan, Estimate] | None = field(default=None, init=False)
    _told: bool = field(default=False, init=False)

    def tell_cost(self, plan: Plan) -> None:
        """Tell in a paragraph what a run will take, the first time that there is work to count."""
        if self._told:
            return
        try:
            estimate = self._estimate(plan)
            if estimate.work.operations:
                self._told = True
                self.say(describe(estimate, self.cores))
        except Exception:
            log.debug("no estimate", exc_info=True)

    def start(self, find_plan: Callable[[], Plan]) -> threading.Thread:
        """Tell the progress every half minute in which something was made, in a daemon thread.

        Parameters
        ----------
        find_plan
            Gives the latest plan; a plan that is made again takes the place of the one before.
        """
        thread = threading.Thread(target=self._watch, args=(find_plan,), daemon=True)
        thread.start()
        return thread

    def _watch(self, find_plan: Callable[[], Plan]) -> None:
        progress = Progress(self.cores, time.monotonic())
        plan = None
        try:
            while not self.elsewhere:
                latest = find_plan()
                news = plan is not None and self._look(progress, plan)
                if latest is not plan:
                    plan = latest
                    estimate = self._estimate(plan)
                    if estimate.untimed:
                        break
                    progress.expect(estimate.tasks)
                if news:
                    self.say(describe_progress(progress, time.monotonic()))
                if plan.publication and not plan.awaited and not progress.tasks:
                    break
                time.sleep(self.pause)
        except Exception:
            log.debug("no progress", exc_info=True)

    def _look(self, progress: Progress, plan: Plan) -> bool:
        took = read_seconds(plan.store, list(progress.tasks.values()))
        return progress.note(took, time.monotonic())

    def _estimate(self, plan: Plan) -> Estimate:
        """The estimate of a plan; one pace holds for a whole run, so that corrections add up."""
        if self._latest is None or self._latest[0] is not plan:
            pace = self._latest[1].pace if self._latest else None
            found = estimate_study(plan, self.cores, pace=pace, elsewhere=self.elsewhere)
            self._latest = plan, found
        return self._latest[1]
