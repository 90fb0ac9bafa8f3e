"""The replay log: the calls that created what a session holds now, and nothing else.

It compacts as it goes: what is dead is dropped, so its length is that of the live objects, not of
the session's life. Replaying it on a fresh context recreates buffers and programs in their order,
as `load_state` requires; contents are the snapshot's business. Versioned, for it is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hal.types import ProgramImage
from proxy.errors import CheckpointRefused
from proxy.records import CreateImage, CreateSampler

VERSION = 2


@dataclass(frozen=True, slots=True)
class BufferEntry:
    nbytes: int
    usage: int


@dataclass(frozen=True, slots=True)
class ImageEntry:
    nbytes: int
    made: CreateImage


@dataclass(slots=True)
class ReplayLog:
    """Virtual handle to how it was made, in creation order."""

    buffers: dict[int, BufferEntry] = field(default_factory=dict)
    programs: dict[int, ProgramImage] = field(default_factory=dict)
    images: dict[int, ImageEntry] = field(default_factory=dict)  # handles are buffers', too
    samplers: dict[int, CreateSampler] = field(default_factory=dict)
    overlay: str | None = None  # digest of the configured overlay
    highest_buffer: int = 0  # numbers are not used again, not even those of the dead
    highest_program: int = 0
    highest_sampler: int = 0

    def allocated(self, handle: int, nbytes: int, usage: int) -> None:
        self.buffers[handle] = BufferEntry(nbytes, usage)
        self.highest_buffer = max(self.highest_buffer, handle)

    def freed(self, handle: int) -> None:
        self.buffers.pop(handle, None)

    def loaded(self, handle: int, image: ProgramImage) -> None:
        self.programs[handle] = image
        self.highest_program = max(self.highest_program, handle)

    def unloaded(self, handle: int) -> None:
        self.programs.pop(handle, None)

    @property
    def total_bytes(self) -> int:
        return sum(nbytes for _, nbytes in self.contents())

    def contents(self) -> list[tuple[int, int]]:
        """Handle and size of everything that has bytes of its own, in creation order."""
        own = {h: entry.nbytes for h, entry in self.images.items() if not entry.made.buffer}
        return sorted(({h: entry.nbytes for h, entry in self.buffers.items()} | own).items())

    def to_json(self) -> dict[str, object]:
        """Without the payloads of images: those are stored by digest, beside it, in order."""
        return {
            "version": VERSION,
            "overlay": self.overlay,
            "highest": [self.highest_buffer, self.highest_program, self.highest_sampler],
            "buffers": [[h, entry.nbytes, entry.usage] for h, entry in self.buffers.items()],
            "programs": [[h, image.format, image.options] for h, image in self.programs.items()],
            "images": [[entry.nbytes, *entry.made] for entry in self.images.values()],
            "samplers": [list(made) for made in self.samplers.values()],
        }

    @classmethod
    def from_json(cls, raw: object, payloads: list[bytes]) -> ReplayLog:
        """Raises CheckpointRefused."""
        try:
            assert isinstance(raw, dict)
            if raw["version"] != VERSION:
                raise CheckpointRefused(
                    f"replay log of version {raw['version']}; this release reads {VERSION}"
                )
            overlay = raw["overlay"]
            log = cls(overlay=None if overlay is None else str(overlay))
            for handle, nbytes, usage in raw["buffers"]:
                log.allocated(int(handle), int(nbytes), int(usage))
            for (handle, form, options), payload in zip(raw["programs"], payloads, strict=True):
                log.loaded(int(handle), ProgramImage(str(form), payload, str(options)))
            for nbytes, *made in raw["images"]:
                image = CreateImage(*map(int, made))
                log.images[image.image] = ImageEntry(int(nbytes), image)
            for made in raw["samplers"]:
                sampler = CreateSampler(*map(int, made))
                log.samplers[sampler.sampler] = sampler
            log.highest_buffer, log.highest_program, log.highest_sampler = map(int, raw["highest"])
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise CheckpointRefused(f"replay log not understood: {error!r}") from error
        return log
