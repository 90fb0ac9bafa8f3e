"""What a session holds on the device, as the native engine knows it: its objects and their changes.

What lives is the engine's knowledge; what programs were made of is kept here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial

import numpy as np

from hal.errors import StateError
from hal.types import ProgramImage
from proxy import engine as native
from proxy import records
from proxy.aside import Errand, at_once
from proxy.engine import Library, Words
from proxy.errors import RemoteProtocolError
from proxy.replay import BufferEntry, ImageEntry, ReplayLog
from proxy.store.runs import room
from proxy.swap_space import SwappedOut
from proxy.tenant import Holdings


class NativeChanges:
    """The engine's count as `known.ChangeCount`: each command that may write counts."""

    def __init__(self, library: Library, at: int, words: Words) -> None:
        self._library = library
        self._at = at
        self._words = words

    @property
    def count(self) -> int:
        return self._words.changes

    def newest(self, buffer: int) -> int:
        return int(self._library.changed(self._at, buffer))


class NativeObjects(Holdings):
    def __init__(self, library: Library, at: int) -> None:
        self.hoisted = set()
        self._library = library
        self._at = at
        self._images: dict[int, ProgramImage] = {}
        self.out: dict[int, SwappedOut] = {}  # by handle, what is not on the device

    @property
    def log(self) -> ReplayLog:
        log = ReplayLog()
        loaded = {}
        for found in self._live():
            handle = found.handle
            if found.kind == native.BUFFER:
                log.buffers[handle] = BufferEntry(found.nbytes, found.values[0])
            elif found.kind == native.IMAGE:
                log.images[handle] = ImageEntry(found.nbytes, records.CreateImage(*found.values))
            elif found.kind == native.SAMPLER:
                log.samplers[handle] = records.CreateSampler(*found.values[:4])
            else:
                loaded[handle] = self._images[handle]
        self._images = log.programs = loaded
        log.highest_buffer, log.highest_program, log.highest_sampler = self._highest()
        return log

    @property
    def highest(self) -> int:
        return max(self._highest())

    def load(self, handle: int, image: ProgramImage) -> None:
        self.adopt(handle, image, at_once(self.builder(image)))

    def builder(self, image: ProgramImage) -> Callable[[], None]:
        library, at, form = self._library, self._at, image.format.encode()
        payload, options = image.payload, image.options.encode()
        if b"\0" in options:
            raise RemoteProtocolError("build options with a zero byte")
        return lambda: library.check(library.build(at, form, payload, len(payload), options))

    def adopt(self, handle: int, image: ProgramImage, build: Errand[None]) -> None:
        self._library.check(self._library.adopt(self._at, handle))  # or it is used up
        build.result()
        self._images[handle] = image

    def kernels(self, program: int) -> bytes:
        self._library.check(self._library.kernels(self._at, program))
        return self._library.taken()

    def build_log(self, program: int) -> bytes:
        self._library.check(self._library.build_log(self._at, program))
        return self._library.taken()

    def adapt(self, log: ReplayLog) -> None:
        library, at = self._library, self._at
        wanted = {native.PROGRAM: set(log.programs), native.SAMPLER: set(log.samplers)}
        memory = log.buffers.keys() | log.images.keys()
        have = self._live()
        for found in have:
            if found.handle not in wanted.get(found.kind, memory):
                library.check(library.forget(at, found.kind, found.handle))
        samplers = {found.handle for found in have if found.kind == native.SAMPLER}
        for handle, sampler in log.samplers.items():
            if handle not in samplers:
                library.check(library.create_sampler(at, _values(sampler)))
        there = {found.handle for found in have if found.kind in (native.BUFFER, native.IMAGE)}
        for handle in sorted(memory - there):
            if (entry := log.buffers.get(handle)) is not None:
                library.check(library.alloc(at, handle, entry.nbytes, entry.usage))
            else:
                image = log.images[handle].made
                if image.buffer and image.buffer not in log.buffers:
                    raise StateError(f"image {handle} lies in a buffer that was freed: not movable")
                library.check(library.create_image(at, _values(image)))

    def fill(self, handle: int, offset: int, data: memoryview) -> None:
        self.transfer(handle, offset, data, write=True)

    def is_shared(self, handle: int) -> bool:
        return bool(self._library.in_heap(self._at, handle))

    def device_bytes(self, log: ReplayLog) -> int:
        finds = partial(self._library.finds, self._at)
        shared = sum(e.nbytes for h, e in log.buffers.items() if finds(h, e.nbytes))
        return log.total_bytes - shared

    def transfer(self, handle: int, offset: int, data: memoryview, write: bool) -> None:
        """Of a session that stands still. Raises HalError."""
        if not data.nbytes:
            return
        bytes_at = np.frombuffer(data, np.uint8).ctypes.data
        self._library.check(
            self._library.transfer(self._at, handle, offset, data.nbytes, bytes_at, int(write))
        )

    def read(self, handle: int, offset: int, nbytes: int) -> memoryview:
        """Of a session that stands still, wherever it is. Raises HalError, OSError."""
        if (content := self.out.get(handle)) is not None:
            return content.read(offset, nbytes)
        into = room(nbytes)
        self.transfer(handle, offset, into, write=False)
        return into

    def there(self) -> dict[int, int]:
        """Sizes of what has bytes of its own on the device, which it can give back."""
        sizes = dict(self.log.contents())
        return {h: n for h, n in sizes.items() if h not in self.out and not self.is_shared(h)}

    def evict(self, handle: int, content: SwappedOut) -> None:
        """The device gives its memory back; its bytes are `content`."""
        if self._library.evict(self._at, handle) > 0:
            self.out[handle] = content
        else:
            content.drop()

    def restore(self, handle: int) -> None:
        """It has memory of the device again, to be filled. Raises HalError."""
        self._library.check(self._library.restore(self._at, handle))

    def is_back(self, handle: int) -> None:
        self.out.pop(handle).drop()

    def drop_out(self) -> None:
        for handle in tuple(self.out):
            self.is_back(handle)

    def settle(self) -> None:
        """Each transfer is done when it returns."""

    def complete(self, log: ReplayLog) -> None:
        highest = (log.highest_buffer, log.highest_program, log.highest_sampler)
        self._library.highest(self._at, (ctypes.c_uint64 * 3)(*highest), 1)

    def _live(self) -> list[native.Live]:
        """In creation order."""
        count = self._library.live(self._at, None, 0)
        found = (native.Live * count)()
        self._library.live(self._at, found, count)
        return sorted(found, key=lambda live: live.handle)

    def _highest(self) -> tuple[int, int, int]:
        found = (ctypes.c_uint64 * 3)()
        self._library.highest(self._at, found, 0)
        return found[0], found[1], found[2]


def _values(record: records.CreateImage | records.CreateSampler) -> ctypes.Array[ctypes.c_uint64]:
    return (ctypes.c_uint64 * len(record))(*record)
