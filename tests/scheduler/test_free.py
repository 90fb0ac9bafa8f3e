"""The index of free slices against a plain set."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.free import Free
from scheduler.core.values import Device, Slice

DEVICES = (
    Device("a:0", "gpu", "v100", 4),
    Device("a:1", "gpu", "v100", 2),
    Device("a:2", "gpu", "v100", 4),
    Device("b:0", "gpu", "k80", 1),
)

OVERLAYS = ("", "fir", "aes")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("pick"), st.sampled_from(("v100", "k80")), st.integers(1, 12)),
        st.tuples(st.just("give"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("lose"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("load"), st.integers(0, 3), st.integers(0, 2)),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(steps)
def test_it_holds_what_is_free_and_picks_only_that(script: list[tuple[str, object, int]]) -> None:
    free = Free()
    up = list(DEVICES)
    for device in DEVICES:
        free.add(device, ())
    held: list[Slice] = []
    loaded = dict.fromkeys((device.uri for device in DEVICES), "")
    for what, which, count in script:
        if what == "pick":
            overlay = OVERLAYS[count % 3]
            chosen = free.pick("gpu", str(which), count, overlay)
            there = [s for d in up if d.part == which for s in d.slices if s not in held]
            assert len(chosen) == min(count, len(there)) == len(set(chosen))
            assert set(chosen) <= set(there)
            fitting = [s for s in there if loaded[s.device] == overlay]
            if overlay:
                assert free.holds("gpu", str(which), overlay) == bool(fitting)
                assert sum(s in fitting for s in chosen) == min(count, len(fitting))
            with free.trial() as trial:
                trial.take(chosen)
                assert trial.count("gpu", str(which)) == len(there) - len(chosen)
            assert free.count("gpu", str(which)) == len(there)
            for item in chosen:
                free.take(item)
            held += chosen
        elif what == "give" and held:
            item = held.pop(int(str(which)) % len(held))
            free.give(item)
        elif what == "load":
            device = DEVICES[int(str(which))]
            loaded[device.uri] = OVERLAYS[count]
            free.load(replace(device, overlay=OVERLAYS[count]))
        elif what == "lose":
            device = DEVICES[int(str(which))]
            if device in up:
                up.remove(device)
                free.remove(device)
            else:
                up.append(device)
                loaded[device.uri] = ""
                free.add(device, {s.index for s in held if s.device == device.uri})
    for part in ("v100", "k80"):
        assert free.capacity("gpu", part) == sum(d.slice_count for d in up if d.part == part)


def test_an_overlay_goes_where_it_is_then_where_none_is_then_where_most_others_are_alike() -> None:
    free, fpgas = Free(), [Device(f"f:{n}", "fpga", "u", 1) for n in range(5)]
    for device in fpgas:
        free.add(device, ())
    assert [s.device for s in free.pick("fpga", "u", 1, "fir")] == ["f:0"]  # nobody holds any
    for device, overlay in zip(fpgas, ("aes", "fft", "fir", "fft"), strict=False):
        free.load(replace(device, overlay=overlay))
    picked = [s.device for s in free.pick("fpga", "u", 5, "fir")]
    assert picked == ["f:2", "f:4", "f:1", "f:3", "f:0"]


def test_a_gang_takes_as_few_devices_as_it_can_and_the_one_that_fits_best() -> None:
    free = Free()
    for device in DEVICES:
        free.add(device, ())
    assert {item.device for item in free.pick("gpu", "v100", 2)} == {"a:1"}
    assert {item.device for item in free.pick("gpu", "v100", 3)} == {"a:0"}
    assert {item.device for item in free.pick("gpu", "v100", 6)} == {"a:0", "a:1"}
    assert {item.device for item in free.pick("gpu", "v100", 8)} == {"a:0", "a:2"}
    assert len(free.pick("gpu", "v100", 11)) == 10
