"""Tasks that are held at a busy origin: whatever becomes of those before it, each has its turn, once and in order."""

from __future__ import annotations

from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from checker.limits import Pace
from checker.messages import Task
from checker.model import Server
from checker.worker.origin_limits import Due, OriginLimit, Places, Waits


class HeldTasks(RuleBasedStateMachine):
    """Tasks of one origin come, begin, end, wait between attempts or end without one: none is left behind."""

    def __init__(self) -> None:
        super().__init__()
        self.due = Due(lambda: None)
        self.limit = OriginLimit(2, 1, Pace(jitter=0), Places(inf), Places(inf), Waits(), self.due)
        self.came, self.under_way, self.begun = 0, 0, list[int]()

    @rule()
    def comes(self) -> None:
        task = Task(server=Server(name="one", probes={}), memory={}, number=self.came)
        self.came += 1
        if (not self.limit.held and not self.limit.is_full) or self.limit.takes(task, 0.0):
            self._begins(task)

    @rule(makes_an_attempt=st.booleans())
    def is_due(self, makes_an_attempt: bool) -> None:
        if not self.due.tasks:
            return
        task, since = self.due.tasks.popleft()
        if not self.limit.takes(task, since):
            return
        if makes_an_attempt:
            self._begins(task)
        else:
            self.begun.append(task.number)

    @precondition(lambda self: self.under_way)
    @rule()
    def ends(self) -> None:
        self.under_way -= 1
        self.limit.__exit__(None, None, None)

    @rule()
    def look(self) -> None:
        self.due.look()

    def teardown(self) -> None:
        while self.under_way:
            self.ends()
        for _ in range(2 * self.came):
            self.due.look()
            self.is_due(False)
        assert sorted(self.begun) == list(range(self.came))
        assert not self.limit.held

    def _begins(self, task: Task) -> None:
        self.limit.__enter__()
        self.under_way += 1
        self.begun.append(task.number)


TestHeldTasks = HeldTasks.TestCase
TestHeldTasks.settings = settings(max_examples=100, stateful_step_count=40)
