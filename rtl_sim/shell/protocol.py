"""The snapshot controller's registers (docs/shell.md): offsets, commands, errors, status.

Pure: whoever can read and write 32-bit registers drives a shell with it, on a board or in a bench.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

ID = 0x4C534853  # "SHSL"
VERSION = 1
ALIGNMENT = 4096  # of an image's address


class Register(IntEnum):
    ID = 0x00
    VERSION = 0x04
    COMMAND = 0x08
    STATUS = 0x0C
    ADDRESS_LOW = 0x10
    ADDRESS_HIGH = 0x14
    IMAGE_BYTES = 0x18
    SEGMENTS = 0x1C
    GEOMETRY_LOW = 0x20
    GEOMETRY_HIGH = 0x24
    CYCLE_LOW = 0x28
    CYCLE_HIGH = 0x2C
    ELAPSED = 0x30
    CRC_INDEX = 0x34
    CRC = 0x38
    ROWS = 0x3C
    WORDS = 0x40
    READ_REGISTERS = 0x44


class Command(IntEnum):
    FREEZE = 1
    SAVE = 2
    LOAD = 3
    CHECK = 4
    VERIFY = 5
    RUN = 6
    RESET = 7


class Error(IntEnum):
    NONE = 0
    WRONG_STATE = 1
    MISALIGNED = 2
    NO_STATE = 3
    OTHER_DESIGN = 4
    READ = 5
    WRITE = 6
    CRC = 7
    VERIFY = 8


@dataclass(frozen=True, slots=True)
class Status:
    frozen: bool
    busy: bool
    sound: bool  # the fabric holds a state that may run: not so after a LOAD that failed
    running: bool
    error: Error  # of the last command
    segment: int  # that the error is about; 0 is the header

    @classmethod
    def of(cls, word: int) -> Status:
        """Raises ValueError for a word that no shell of this version shows."""
        return cls(
            bool(word & 1), bool(word & 2), bool(word & 4), bool(word & 8),
            Error(word >> 8 & 0xFF), word >> 16,
        )  # fmt: skip
