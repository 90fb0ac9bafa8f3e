"""The exceptions of the compiler.

    CompileError            caller
     |- MalformedModel      caller   not an ONNX model, damaged, too big, external data
     |- DynamicShape        caller   a dimension has no number and is not a batch dimension
     |- UnsupportedOp       caller   operators the target lacks: ALL of them in one exception
     |- BadWeights          caller   weights that are NaN, infinite or out of the target's range
     |- UnknownTarget       caller   no such target
     |- DoesNotFit          caller   the model needs more of a resource than the target has
     |- BadInput            caller   an inference was asked for with wrong inputs, or out of turn
     |- ArtifactError       caller   a compiled model's bytes are damaged, or of another version
     |- ProgramFault        fatal    the device refused an instruction of a compiled program
     `- RunTimeout          retry    a launch did not finish in the time allowed

Same shape as the other families (hal/errors.py): `code`, `disposition`, pickle-safe, and a message
that says what was asked, what was found and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class CompileError(Exception):
    """Root of the family."""

    code: ClassVar[str] = "compile_error"
    disposition: ClassVar[str] = "caller"


class MalformedModel(CompileError):
    code = "malformed_model"


class DynamicShape(CompileError):
    code = "dynamic_shape"


class BadWeights(CompileError):
    code = "bad_weights"


class UnknownTarget(CompileError):
    code = "unknown_target"


class BadInput(CompileError):
    code = "bad_input"


class ArtifactError(CompileError):
    code = "artifact_error"


class ProgramFault(CompileError):
    code = "program_fault"
    disposition = "fatal"


class RunTimeout(CompileError):
    code = "run_timeout"
    disposition = "retry"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One operator that cannot be compiled, and why."""

    op: str  # as ONNX names it; "domain::Op" outside the default domain
    opset: int
    node: str  # the node's name in the model
    reason: str

    def __str__(self) -> str:
        return f"{self.op} (opset {self.opset}) at node {self.node!r}: {self.reason}"


class UnsupportedOp(CompileError):
    """Every refused operator of a model, so that one look tells the whole distance."""

    code = "unsupported_op"

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        self.refusals = tuple(refusals)
        lines = "".join(f"\n  - {refusal}" for refusal in self.refusals)
        count = len(self.refusals)
        super().__init__(
            f"{count} operator{'s' if count != 1 else ''} cannot be compiled; rewrite or run "
            f"them on the host:{lines}"
        )

    def __reduce__(self) -> tuple[type[UnsupportedOp], tuple[tuple[Refusal, ...]]]:
        return type(self), (self.refusals,)


class DoesNotFit(CompileError):
    """The model needs `need` of `resource`; the target has `have`. `fits`: the smallest target
    that holds the model, "" where none does or nobody looked."""

    code = "does_not_fit"

    def __init__(self, resource: str, need: int, have: int, target: str, fits: str = "") -> None:
        self.resource = resource
        self.need = need
        self.have = have
        self.target = target
        self.fits = fits
        advice = f"it fits {fits}" if fits else "choose a larger target or a smaller model"
        super().__init__(f"the model needs {need} of {resource}, {target} has {have}: {advice}")

    def __reduce__(self) -> tuple[type[DoesNotFit], tuple[str, int, int, str, str]]:
        return type(self), (self.resource, self.need, self.have, self.target, self.fits)
