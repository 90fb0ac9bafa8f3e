"""How fast a job runs on what it holds: whole numbers, so that everybody gets the same."""

from __future__ import annotations

from scheduler.core.values import JobSpec

FULL_PPM = 1_000_000  # the job on `count` slices of its first part


def speed_ppm(spec: JobSpec, slices: int, part: str = "") -> int:
    """Millionths of the full speed. Below `count` ranks take turns: the speed is in proportion.
    Beyond it the job's curve says; past its last point, nothing is gained."""
    return _size_ppm(spec, slices) * _part_ppm(spec, part) // FULL_PPM


def _size_ppm(spec: JobSpec, slices: int) -> int:
    if slices <= spec.count:
        return slices * FULL_PPM // spec.count
    below, speed_below = spec.count, FULL_PPM
    for point, speed in spec.curve:
        ppm = round(speed * FULL_PPM)
        if slices <= point:
            return speed_below + (ppm - speed_below) * (slices - below) // (point - below)
        below, speed_below = point, ppm
    return speed_below


def _part_ppm(spec: JobSpec, part: str) -> int:
    if not spec.speeds:
        return FULL_PPM
    known = dict(spec.speeds)
    return round(known.get(part, spec.speeds[0][1]) * FULL_PPM)


def relative(spec: JobSpec, part: str) -> float:
    """Speed on a part against that on the first that the job names."""
    return _part_ppm(spec, part) / FULL_PPM
