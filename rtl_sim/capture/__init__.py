"""State capture: rewrites RTL so that all its state can be read and written while frozen."""

from rtl_sim.capture.errors import (
    CaptureError,
    CaptureRefused,
    ElaborationError,
    Refusal,
    ToolError,
)
from rtl_sim.capture.tool import CaptureReport, CaptureResult, capture

__all__ = [
    "CaptureError",
    "CaptureRefused",
    "CaptureReport",
    "CaptureResult",
    "ElaborationError",
    "Refusal",
    "ToolError",
    "capture",
]
