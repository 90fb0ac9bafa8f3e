"""A served model as its user calls it: at once, and in sessions that remember.

Batch 1 and no thread between: a call runs in its caller's thread, from the array to the device's
queue. Several threads may call one model; they take turns.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from types import TracebackType
from typing import Any, Self

from hal.errors import Busy, Unsupported, UsageError
from hal.serving.seam import Arrays, Floats, Outcome, Runner, StateSpec, TensorSpec
from hal.serving.state import State, check_arrays, check_state

TIMEOUT_S = 60.0  # of a call, its turn included: a simulated FPGA is slow

Input = Any  # an array for a model with one input, else a mapping of arrays by name
Output = Floats | dict[str, Floats]  # likewise


class Served:
    """What the model and its async twin tell of themselves, and how they read a call."""

    def __init__(self, runner: Runner, timeout_s: float) -> None:
        self._runner = runner
        self.timeout_s = checked_timeout(timeout_s)
        self.last_cycles: int | None = None  # of the newest call, where the device counts them

    @property
    def name(self) -> str:
        return self._runner.name

    @property
    def device(self) -> str:
        """URI of the device it runs on."""
        return self._runner.device

    @property
    def kind(self) -> str:
        """Devices of one kind give the same bits."""
        return self._runner.kind

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._runner.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._runner.outputs

    @property
    def states(self) -> tuple[StateSpec, ...]:
        """What a session remembers between calls."""
        return self._runner.states

    def _plain_inputs(self, x: Input) -> dict[str, Any]:
        """Of a call without a session: states that the file does not declare are initial."""
        hidden = {spec.name: spec.initial for spec in self.states if not spec.declared}
        return hidden | _named(x, [spec.name for spec in self.inputs], self.name)

    def _session_inputs(self, x: Input) -> dict[str, Any]:
        states = {spec.name for spec in self.states}
        names = [spec.name for spec in self.inputs if spec.name not in states]
        return _named(x, names, f"a session of {self.name}")

    def _first_state(self, state: State | Mapping[str, Any] | None) -> State:
        """Where a new session begins. Raises Unsupported, StateError."""
        runner = self._runner
        if runner.stateless:
            raise Unsupported(f"{self.name}: no session, {runner.stateless}")
        if isinstance(state, State):
            check_state(runner, state)
            return State(runner.name, runner.digest, runner.kind, state.calls, state.arrays)
        if state is None:
            arrays: Arrays = {spec.name: spec.initial for spec in runner.states}
        else:
            arrays = check_arrays(runner, state)
        return State(runner.name, runner.digest, runner.kind, 0, arrays)

    def _limit(self, timeout_s: float | None) -> float:
        """Of a call. Raises UsageError."""
        return self.timeout_s if timeout_s is None else checked_timeout(timeout_s)

    def _took(self, outcome: Outcome) -> Output:
        self.last_cycles = outcome.cycles
        outputs = dict(outcome.outputs)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def checked_timeout(timeout_s: float) -> float:
    """Raises UsageError for what is no number of seconds that a wait can take."""
    number = isinstance(timeout_s, Real) and not isinstance(timeout_s, bool)
    if not number or not 0 <= timeout_s <= threading.TIMEOUT_MAX:  # also NaN
        raise UsageError(
            f"timeout_s={timeout_s!r}: give seconds, from 0 to {threading.TIMEOUT_MAX:g}"
        )
    return float(timeout_s)


def _named(x: Input, names: list[str], what: str) -> dict[str, Any]:
    """A call's arrays by name. Raises UsageError."""
    arrays = dict(x) if isinstance(x, Mapping) else {names[0]: x} if len(names) == 1 else None
    if arrays is None:
        raise UsageError(f"{what} takes {len(names)} inputs: give a mapping of {', '.join(names)}")
    if set(arrays) != set(names):
        raise UsageError(
            f"{what} takes {', '.join(names) or 'nothing'}; given were "
            f"{', '.join(sorted(map(str, arrays))) or 'none'}"
        )
    return arrays


def next_state(state: State, outcome: Outcome) -> State:
    """After one inference more."""
    return State(state.model, state.digest, state.kind, state.calls + 1, outcome.states)


class Model(Served):
    """A model on a device. Use as a context manager."""

    def __init__(self, runner: Runner, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(runner, timeout_s)
        self._turn = threading.Lock()
        self._closed = False

    def __call__(self, x: Input, timeout_s: float | None = None) -> Output:
        """One inference. Takes and gives an array where the model has one input or output, else a
        mapping by name. Raises UsageError, Busy, and what the compiler's family has for arrays
        that do not fit and for a device that is late."""
        arrays = self._plain_inputs(x)
        with self._taking_turns(timeout_s) as limit_s:
            return self._took(self._runner.run(arrays, limit_s))

    def session(self, state: State | Mapping[str, Any] | None = None) -> Session:
        """A sequence of inferences with recurrent state, from the model's initial one, or from
        where another session was: on this device or on another. Raises StateError for a state
        that is not this model's, Unsupported where the state cannot be had."""
        return Session(self, self._first_state(state))

    def close(self) -> None:
        """Give the device back, after the call that runs. Idempotent."""
        with self._turn:
            if not self._closed:
                self._closed = True
                self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _taking_turns(self, timeout_s: float | None) -> Iterator[float]:
        limit_s = self._limit(timeout_s)
        if not self._turn.acquire(timeout=limit_s):
            raise Busy(f"{self.name} on {self.device}: other calls took all of {limit_s} s")
        try:
            if self._closed:
                raise UsageError(f"{self.name}: the model is closed; serve it anew")
            yield limit_s
        finally:
            self._turn.release()


class Session:
    """Inferences that follow one another: each goes on from the state that the last one left. Any
    number of sessions share a model; a session costs no memory on the device."""

    def __init__(self, model: Model, state: State) -> None:
        self._model = model
        self._state = state

    def __call__(self, x: Input, timeout_s: float | None = None) -> Output:
        """The next inference; see `Model.__call__`, with the inputs that are no states. One that
        raises leaves the session where it was."""
        model = self._model
        arrays = model._session_inputs(x)
        with model._taking_turns(timeout_s) as limit_s:
            outcome = model._runner.run(arrays | dict(self._state.arrays), limit_s)
            self._state = next_state(self._state, outcome)
            return model._took(outcome)

    @property
    def calls(self) -> int:
        """Inferences since the sequence began, on whatever devices."""
        return self._state.calls

    def state(self) -> State:
        """What it remembers now: a value, which later calls do not change."""
        return self._state
