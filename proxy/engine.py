"""The server's native half, through ctypes: `native/engine.*.so`, see native/engine.cpp.

Everything here is thin: names, types, and failures as exceptions. Calls into the library let other
Python threads run. One thread uses one engine, but for what is said to be of any thread.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from proxy import records
from proxy.errors import AnyError, RemoteProtocolError, from_wire
from proxy.heap import is_shareable
from proxy.segment import LAYOUT_VERSION

FOLDER = Path(__file__).with_name("native")
_u64, _int, _bool, _text, _at = (
    ctypes.c_uint64, ctypes.c_int, ctypes.c_bool, ctypes.c_char_p, ctypes.c_void_p,
)  # fmt: skip

_PROGRESS = 3  # of serve
BUFFER, IMAGE, PROGRAM, SAMPLER = 1, 2, 3, 4  # kinds of Live


class Words(ctypes.Structure):
    """What both sides know of a session: native/engine/tenant.hpp says what each is."""

    issued: int
    retired: int
    completed: int
    newest_seq: int
    tail: int
    epoch: int
    replied: int
    asked: int
    errors_told: int
    failed: int
    has_error: int
    fault: int
    halted: int
    draining: int
    flights: int
    kernels: int
    backlog: int
    weight: int
    limit_bytes: int
    used_bytes: int
    device_ns: int
    dirty: int
    overdue: int
    changes: int
    held: int
    out_bytes: int
    waits: int
    wanted_bytes: int
    insists: int
    driver_full: int
    active_ns: int
    shared_bytes: int
    _fields_ = tuple((name, _u64) for name in __annotations__)


class Live(ctypes.Structure):
    """One live object; `values`: the fields of the record that made it, of a buffer its usage."""

    _fields_ = (("handle", _u64), ("kind", _u64), ("nbytes", _u64), ("values", _u64 * 12))
    handle: int
    kind: int
    nbytes: int
    values: Sequence[int]


_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "engine_version": (_u64, ()),
    "words_bytes": (_u64, ()),
    "failure_code": (_text, ()),
    "failure_message": (_text, ()),
    "failure_native": (_int, ()),
    "result": (_at, ()),
    "result_bytes": (_u64, ()),
    "engine_open": (_at, (_at, _u64, _u64)),
    "engine_close": (None, (_at,)),
    "engine_shares": (_bool, (_at,)),
    "engine_set": (None, (_at, _u64, _u64)),
    "engine_share": (None, (_at, _u64, _u64)),
    "engine_used": (_u64, (_at,)),
    "engine_switches": (_u64, (_at,)),
    "engine_values": (_bool, (_at,)),
    "serve": (_int, (_at, _at, _u64, _at, ctypes.c_uint32, _u64)),
    "tenant_open": (_at, (_at, _text, _at, _u64, _u64, _at)),
    "tenant_close": (_bool, (_at, _u64)),
    "tenant_turn": (_int, (_at, _u64)),
    "tenant_keep": (None, (_at, _at, _u64, _int, _u64)),
    "tenant_heap": (None, (_at, _at, _u64)),
    "tenant_rebind": (None, (_at, _at)),
    "tenant_kernel": (_text, (_at,)),
    "tenant_error": (_bool, (_at,)),
    "tenant_fault": (_bool, (_at,)),
    "tenant_set_error": (None, (_at, _text, _text, _int)),
    "tenant_push": (_bool, (_at, _text, _u64, _text, _u64)),
    "tenant_clock": (_bool, (_at, _u64, _at)),
    "tenant_clocks": (_bool, (_at,)),
    "tenant_know": (None, (_at, _text, _u64)),
    "engine_capture": (_bool, (_at,)),
    "tenant_printed": (_bool, (_at, _u64, _u64)),
    "tenant_prints": (_bool, (_at,)),
    "tenant_know_prints": (None, (_at, _text, _u64)),
    "build": (_bool, (_at, _text, _text, _u64, _text)),
    "adopt": (_bool, (_at, _u64)),
    "kernels": (_bool, (_at, _u64)),
    "build_log": (_bool, (_at, _u64)),
    "alloc": (_bool, (_at, _u64, _u64, _u64)),
    "create_image": (_bool, (_at, _at)),
    "create_sampler": (_bool, (_at, _at)),
    "transfer": (_bool, (_at, _u64, _u64, _u64, _at, _int)),
    "tenant_begin": (None, (_at,)),
    "evict": (_int, (_at, _u64)),
    "restore": (_bool, (_at, _u64)),
    "forget": (_bool, (_at, _u64, _u64)),
    "changed": (_u64, (_at, _u64)),
    "count_writes": (None, (_at,)),
    "in_heap": (_bool, (_at, _u64)),
    "finds": (_bool, (_at, _u64, _u64)),
    "highest": (None, (_at, _at, _int)),
    "live": (_u64, (_at, _at, _u64)),
    "digest": (_u64, (_text, _u64)),
    "recode": (_bool, (_text, _u64)),
}


class Library:
    """The loaded engine. Its functions are attributes. Raises OSError if it is not there."""

    def __init__(self) -> None:
        found = sorted(FOLDER.glob("engine.*.so"))
        if not found:
            raise OSError(f"no engine in {FOLDER}: build it with the wheel, or in place")
        self._library = ctypes.CDLL(str(found[0]))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, f"haltere_{name}", None)
            if function is None:
                raise OSError(f"{found[0]} has no {name}: it is of another release, build it again")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        version = LAYOUT_VERSION << 32 | records.VERSION
        if self.engine_version() != version or self.words_bytes() != ctypes.sizeof(Words):
            raise OSError(f"{found[0]} is of another release: build it again")

    def __getattr__(self, name: str) -> Callable[..., Any]:  # for type checkers: all are set above
        raise AttributeError(name)

    def failure(self) -> AnyError:
        """The last call's, as an exception."""
        wire = {
            "code": self.failure_code().decode(errors="replace"),
            "message": self.failure_message().decode(errors="replace"),
        }
        if native := self.failure_native():
            wire["native"] = str(native)
        return from_wire(wire)

    def check(self, done: object) -> None:
        if not done:
            raise self.failure()

    def taken(self) -> bytes:
        """The bytes that the last call gave."""
        nbytes = self.result_bytes()
        return ctypes.string_at(self.result(), nbytes) if nbytes else b""

    def recoded(self, record: bytes) -> bytes:
        """Decoded and encoded again. Raises RemoteProtocolError."""
        if not self.recode(record, len(record)):
            raise RemoteProtocolError("malformed")
        return self.taken()


class Engine:
    """An OpenCL device, by the handle that its library knows it by."""

    def __init__(
        self, library: Library, device: int, memory_bytes: int, max_buffer_bytes: int
    ) -> None:
        """HALTERE_BUFFERS=staged: as if the device had memory of its own (see heap)."""
        self.library = library
        self.at = library.engine_open(device, memory_bytes, max_buffer_bytes)
        library.check(self.at)
        wish = os.environ.get("HALTERE_BUFFERS", "shared")
        self.shares = wish != "staged" and is_shareable() and bool(library.engine_shares(self.at))

    def values(self) -> bytes:
        """DeviceValue records: all that the driver answers about platform and device."""
        self.library.check(self.library.engine_values(self.at))
        return self.library.taken()

    def capture(self) -> None:
        """What kernels print is their sessions' from now on, not this process's."""
        self.library.engine_capture(self.at)

    def set(self, quantum_s: float, watchdog_s: float) -> None:
        self.library.engine_set(self.at, int(quantum_s * 1e6), int(watchdog_s * 1e6))

    def share(self, there_bytes: int, there_or_out_bytes: int) -> None:
        """What all sessions may have, at most: on the device at a time, and with what is out."""
        self.library.engine_share(self.at, there_bytes, there_or_out_bytes)

    @property
    def used_bytes(self) -> int:
        """On the device, of all sessions."""
        return int(self.library.engine_used(self.at))

    @property
    def switches(self) -> int:
        """Times that the device went from one session to another."""
        return int(self.library.engine_switches(self.at))

    def serve(
        self, tenants: Sequence[int], page_bell: int, page_seen: int, limit_s: float = 0.0
    ) -> bool:
        """Until something needs Python, or the time is over (0: one round). True if that round did
        something."""
        array = (ctypes.c_void_p * len(tenants))(*tenants)
        why = self.library.serve(
            self.at, array, len(tenants), page_bell, page_seen, max(int(limit_s * 1e6), 0)
        )
        return bool(why == _PROGRESS)

    def close(self) -> None:
        self.library.engine_close(self.at)
