"""What goes wrong while a design is being made haltable: a branch of SimError.

CaptureError
 |- CaptureRefused   caller   the design holds something whose state cannot be saved soundly
 |- ElaborationError caller   Yosys does not accept the sources
 `- ToolError        fatal    Yosys is missing, crashed or took too long

"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rtl_sim.errors import SimError


class CaptureError(SimError):
    code = "capture_error"


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """One thing that capture will not touch: `kind` is stable, `where` names it in the design."""

    kind: str
    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.why}"


class CaptureRefused(CaptureError):
    """Carries every reason found, not only the first."""

    code = "capture_refused"
    disposition = "caller"

    def __init__(self, top: str, refusals: Iterable[Refusal]) -> None:
        self.top = top
        self.refusals = tuple(sorted(set(refusals)))
        listed = "\n".join(f"  {refusal}" for refusal in self.refusals)
        super().__init__(
            f"design {top} was not instrumented, {len(self.refusals)} obstacle(s):\n{listed}"
        )

    def __reduce__(self) -> tuple[type[CaptureRefused], tuple[str, tuple[Refusal, ...]]]:
        return type(self), (self.top, self.refusals)


class ElaborationError(CaptureError):
    code = "elaboration_error"
    disposition = "caller"


class ToolError(CaptureError):
    code = "tool_error"
    disposition = "fatal"
