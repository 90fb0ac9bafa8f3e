"""From an ONNX file to a replica in the gateway: compile, lease a device, load, add."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from compiler.serving import Servable
from hal.serving import State
from proxy.client import connect
from scheduler.live.pool import JobSpec, Pool, Tier
from service.gateway import Gateway
from service.npu_model import RunnerSession, npu_model
from service.tensors import Answer, Tensors, TensorSpec

LEASE_TIMEOUT_S = 600.0  # for a device to become free
MODEL_DEVICES = ("fpga-sim", "cpu")  # kinds of devices that models are served on


class LeasedModel:
    """An NPU model on a device that the pool leases to it, and may halt and move meanwhile."""

    def __init__(self, pool: Pool, spec: JobSpec, model: Servable, timeout_s: float) -> None:
        with ExitStack() as stack:
            lease = stack.enter_context(pool.lease(spec, LEASE_TIMEOUT_S))
            device = connect(lease.device, root=pool.root, session=lease.session)
            self._model = npu_model(device, model, timeout_s)
            stack.callback(self._model.close)
            self.job = lease.id
            self._stack = stack.pop_all()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._model.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._model.outputs

    @property
    def platform(self) -> str:
        return self._model.platform

    def infer(self, inputs: Tensors) -> Answer:
        return self._model.infer(inputs)

    def session(self, state: State | None) -> RunnerSession:
        return self._model.session(state)

    def close(self) -> None:
        self._stack.close()


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
) -> int:
    """Serve an ONNX model as `name`; the lease's job id. Raises what compiling, leasing and
    loading raise, and then nothing is left behind."""
    made = Servable.compile(model, target, dims)
    spec = JobSpec(name, tenant, tier, kind)
    served = LeasedModel(pool, spec, made, timeout_s)
    gateway.add(name, served)
    return served.job
