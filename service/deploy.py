"""From an ONNX file to a replica in the gateway: compile, lease a device, load, add."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from compiler import CompiledModel, compile_onnx
from proxy.client import connect
from scheduler.live.pool import JobSpec, Pool, Tier
from service.gateway import Answer, Gateway, Tensors, TensorSpec
from service.npu_model import NpuModel

LEASE_TIMEOUT_S = 600.0  # for a device to become free
MODEL_DEVICES = "fpga-sim"  # the kind of device that models are served on


class LeasedModel:
    """An NPU model on a device that the pool leases to it, and may halt and move meanwhile."""

    def __init__(
        self, pool: Pool, spec: JobSpec, compiled: CompiledModel, timeout_s: float
    ) -> None:
        with ExitStack() as stack:
            lease = stack.enter_context(pool.lease(spec, LEASE_TIMEOUT_S))
            device = connect(lease.device, root=pool.root, session=lease.session)
            self._model = NpuModel(device, compiled, timeout_s)
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
    target: str = "npu:sim",
    dims: Mapping[str, int] | None = None,
    timeout_s: float = 120.0,
) -> int:
    """Serve an ONNX model as `name`; the lease's job id. Raises what compiling, leasing and
    loading raise, and then nothing is left behind."""
    compiled = compile_onnx(model, target, dims=dims)
    spec = JobSpec(name, tenant, tier, MODEL_DEVICES)
    served = LeasedModel(pool, spec, compiled, timeout_s)
    gateway.add(name, served)
    return served.job
