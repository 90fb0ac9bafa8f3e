"""From an ONNX file to a replica in the gateway: compile, lease a device, load, add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from compiler.serving import Servable
from hal.errors import DeviceFault, DeviceLost
from hal.serving import State
from proxy.client import connect
from scheduler.errors import WaitExpired
from scheduler.live.pool import JobSpec, JobState, Pool, Tier
from service.errors import NotFound
from service.gateway import Gateway
from service.npu_model import RunnerModel, RunnerSession, npu_model
from service.scaling import Scaler, Scaling
from service.tensors import Answer, Tensors, TensorSpec

LEASE_TIMEOUT_S = 600.0  # for a device to become free
NOTICE_S = 5.0  # for the pool to notice that a device is lost; it takes milliseconds
MODEL_DEVICES = ("fpga-sim", "cpu")  # kinds of devices that models are served on


class LeasedModel:
    """An NPU model on a device that the pool leases to it, and may halt and move meanwhile.

    Where the device is lost, as when its server was killed, the model is leased another and the
    call is made once more: what sessions remember is here, not there, so nothing is lost."""

    def __init__(self, pool: Pool, spec: JobSpec, model: Servable, timeout_s: float) -> None:
        self._pool, self._spec, self._made, self._timeout_s = pool, spec, model, timeout_s
        self._stack = ExitStack()  # what holds the device
        self._lost = False
        self._load(LEASE_TIMEOUT_S)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._model.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._model.outputs

    @property
    def platform(self) -> str:
        return self._model.platform

    @property
    def withdrawn(self) -> str:
        if self._pool.job(self.job).state != JobState.CANCELLED:
            return ""
        return f"its job {self.job} was cancelled"

    def infer(self, inputs: Tensors) -> Answer:
        return self.call(lambda model: model.infer(inputs))

    def session(self, state: State | None) -> LeasedSession:
        return LeasedSession(self, self._model.session(state))

    def call(self, work: Callable[[RunnerModel], Answer]) -> Answer:
        """`work`, on the device that the model has then. Raises what it raises, NotFound."""
        if not self._lost:
            try:
                return work(self._model)
            except (DeviceLost, DeviceFault):
                self._lost = True
                with suppress(WaitExpired):  # else the pool might lease the dead one again
                    self._pool.wait(self.job, NOTICE_S)
        if self.withdrawn:
            raise NotFound(f"model {self._spec.name!r} is served no more: {self.withdrawn}")
        with suppress(Exception):  # of a device that is gone
            self._stack.close()
        self._load(self._timeout_s)
        return work(self._model)

    def close(self) -> None:
        self._stack.close()

    def _load(self, wait_s: float) -> None:
        with ExitStack() as stack:
            lease = stack.enter_context(self._pool.lease(self._spec, wait_s))
            device = connect(lease.device, root=self._pool.root, session=lease.session)
            self._model = npu_model(device, self._made, self._timeout_s)
            stack.callback(self._model.close)
            self.job = lease.id
            self._stack = stack.pop_all()
            self._lost = False


class LeasedSession:
    """A session of such a model; it goes on wherever the model is loaded anew."""

    def __init__(self, leased: LeasedModel, session: RunnerSession) -> None:
        self._leased, self._session = leased, session
        self.inputs = session.inputs

    def infer(self, inputs: Tensors) -> Answer:
        def work(model: RunnerModel) -> Answer:
            if self._session.model is not model:
                self._session = model.session(self._session.state())
            return self._session.infer(inputs)

        return self._leased.call(work)

    def state(self) -> State:
        return self._session.state()


def deploy(
    gateway: Gateway,
    pool: Pool,
    name: str,
    model: Path,
    *,
    tenant: str = "default",
    tier: Tier = Tier.STANDARD,
    kind: str = MODEL_DEVICES[0],
    target: str = "npu:sim",
    dims: Mapping[str, int] | None = None,
    timeout_s: float = 120.0,
    scaling: Scaling | None = None,
) -> int:
    """Serve an ONNX model as `name`; the lease's job id. With `scaling` by as many replicas as that
    says; the job id is the first one's. Raises what compiling, leasing and loading raise, and then
    nothing is left behind."""
    made = Servable.compile(model, target, dims)
    overlay = made.compiled.overlay if kind == MODEL_DEVICES[0] else ""
    spec = JobSpec(name, tenant, tier, kind, overlay=overlay)
    if scaling is not None:
        line = gateway.line(name, scaling.objective.first_s)
        scaler = Scaler(pool, line, spec, lambda d: npu_model(d, made, timeout_s), scaling)
        gateway.open(name, scaler.start(), line, scaler)
        return scaler.jobs[0]
    served = LeasedModel(pool, spec, made, timeout_s)
    gateway.add(name, served)
    return served.job
