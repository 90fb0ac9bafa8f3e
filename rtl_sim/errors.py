"""The exceptions of the simulation floor, in the shape that every family has (see hal/errors.py).

SimError
 |- ToolMissing        caller   Verilator or a C++ compiler is not installed
 |- BuildFailed        caller   the RTL does not build; the message ends with the tool's log
 |   `- CacheUnusable  caller   what is built cannot be kept: no room, or no right to write
 |- PortError          caller   no such port, or a value or rows that do not fit it
 |- ModelFault         migrate  the model reports a fault: bus error, assertion, no answer
 |- DesignError        caller   the description of a design (design.toml, .f) cannot be used
 |- HaltTooLong        caller   moving the state takes longer than a bench may
 |- NotMoved           caller   a bench ended before its design's state could be moved
 `- SnapshotError      caller   a snapshot is damaged, of another layout or another overlay
"""

from __future__ import annotations

from typing import ClassVar


class SimError(Exception):
    """Root of the family."""

    code: ClassVar[str] = "sim_error"
    disposition: ClassVar[str] = "fatal"


class ToolMissing(SimError):
    code = "tool_missing"
    disposition = "caller"


class BuildFailed(SimError):
    code = "build_failed"
    disposition = "caller"


class CacheUnusable(BuildFailed):
    code = "cache_unusable"
    disposition = "caller"


class PortError(SimError):
    code = "port_error"
    disposition = "caller"


class ModelFault(SimError):
    code = "model_fault"
    disposition = "migrate"


class SnapshotError(SimError):
    code = "snapshot_error"
    disposition = "caller"


class DesignError(SimError):
    code = "design_error"
    disposition = "caller"


class HaltTooLong(SimError):
    code = "halt_too_long"
    disposition = "caller"


class NotMoved(SimError):
    code = "not_moved"
    disposition = "caller"
