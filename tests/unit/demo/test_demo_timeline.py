"""What the timeline says of spans, and that both pictures say it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.timeline import Span
from service.demo.timeline import Note, draw
from service.demo.timeline_facts import KINDS, MAX_BARS, PALETTE, Tenant, chart
from service.demo.timeline_html import page, tick_step


def span(device: str, job: int, kind: str, start_s: float, end_s: float, tenant: str = "") -> Span:
    return Span(device, job, tenant or f"tenant {job}", "basic", kind, start_s, end_s)


MOVED = [
    span("opencl:0", 1, "run", 100.0, 107.0),
    span("opencl:0", 1, "checkpoint", 107.0, 107.5),
    span("opencl:0", 2, "run", 107.5, 112.0),
    span("opencl:1", 1, "restore", 109.0, 109.5),
    span("opencl:1", 1, "run", 109.5, 114.0),
]


def test_times_count_from_the_first_span() -> None:
    facts = chart(MOVED)
    assert [bar.start_s for bar in facts.bars] == [0.0, 7.0, 7.5, 9.0, 9.5]
    assert facts.end_s == 14.0


def test_a_move_leads_from_the_halt_to_the_restore_on_the_other_device() -> None:
    (pause,) = chart(MOVED).pauses
    assert pause.moved
    assert (pause.halted.device, pause.halted.at_s) == ("opencl:0", 7.0)
    assert (pause.resumed.device, pause.resumed.at_s) == ("opencl:1", 9.0)
    assert pause.seconds == 2.0


def test_a_job_that_comes_back_to_its_device_was_halted_but_not_moved() -> None:
    facts = chart(
        [
            span("cpu:0", 1, "run", 0, 1),
            span("cpu:0", 1, "checkpoint", 1, 2),
            span("cpu:0", 2, "run", 2, 3),
            span("cpu:0", 1, "restore", 3, 4),
            span("cpu:0", 1, "run", 4, 5),
        ]
    )
    assert [point.at_s for point in facts.halts] == [1]
    assert [pause.moved for pause in facts.pauses] == [False]
    assert facts.summary == "2 jobs of 2 tenants on 1 device, 1 halt, 0 moves, 5.0 s"


def test_a_snapshot_that_does_not_stop_the_job_is_no_halt() -> None:
    facts = chart(
        [
            span("cpu:0", 1, "run", 0, 1),
            span("cpu:0", 1, "checkpoint", 1, 1.5),
            span("cpu:0", 1, "run", 1.5, 3),
        ]
    )
    assert facts.halts == ()
    assert facts.pauses == ()


def test_a_job_halted_and_not_resumed_is_still_shown_as_halted() -> None:
    facts = chart([span("cpu:0", 1, "run", 0, 1), span("cpu:0", 1, "checkpoint", 1, 2)])
    assert [(point.device, point.at_s) for point in facts.halts] == [("cpu:0", 1)]
    assert facts.pauses == ()


def test_a_gang_is_halted_on_each_of_its_devices() -> None:
    spans = [
        span(f"cpu:{rank + shift}", 1, kind, start, start + 1)
        for kind, start, shift in (("run", 0, 0), ("checkpoint", 1, 0), ("restore", 5, 2))
        for rank in (0, 1)
    ]
    facts = chart(spans)
    assert [point.device for point in facts.halts] == ["cpu:0", "cpu:1"]
    assert [(p.halted.device, p.resumed.device) for p in facts.pauses] == [
        ("cpu:0", "cpu:2"),
        ("cpu:1", "cpu:3"),
    ]


def test_reconfiguring_for_a_job_is_not_yet_the_job_going_on() -> None:
    spans = [
        span("fpga:0", 1, "run", 0, 1),
        span("fpga:0", 1, "checkpoint", 1, 2),
        span("fpga:1", 1, "reconfigure", 2, 3),
        span("fpga:1", 1, "restore", 3, 4),
    ]
    (pause,) = chart(spans).pauses
    assert (pause.halted.at_s, pause.resumed.at_s) == (1, 3)


def test_two_jobs_at_once_on_one_device_lie_side_by_side() -> None:
    facts = chart([span("cpu:0", 1, "run", 0, 5), span("cpu:0", 2, "run", 1, 3)])
    assert facts.tracks == {"cpu:0": 2}
    assert [bar.track for bar in facts.bars] == [0, 1]


def test_lanes_come_in_the_order_asked_for_and_idle_devices_too() -> None:
    facts = chart(MOVED, devices=["fpga-sim:0", "opencl:1"])
    assert facts.devices == ("fpga-sim:0", "opencl:1", "opencl:0")
    assert facts.tracks["fpga-sim:0"] == 1


def test_a_tenant_has_one_colour_on_every_device() -> None:
    facts = chart([span(f"cpu:{i}", i, "run", i, i + 1, tenant="abc"[i % 3]) for i in range(6)])
    assert [tenant.name for tenant in facts.tenants] == ["a", "b", "c"]
    assert len({tenant.colour for tenant in facts.tenants}) == 3
    assert facts.bars[0].tenant.colour == facts.bars[3].tenant.colour


def luminance(colour: str) -> float:
    """WCAG's, of #rrggbb."""
    parts = (int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", PALETTE)
def test_labels_can_be_read_on_every_colour(colour: str) -> None:
    ink = {"black": 0.0, "white": 1.0}[Tenant("a", "basic", colour).ink]
    low, high = sorted((ink, luminance(colour)))
    assert (high + 0.05) / (low + 0.05) >= 3.0


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (span("cpu:0", 1, "runs", 0, 1), "kind must be one of"),
        (span("cpu:0", 1, "run", 2, 1), "ends before it starts"),
        (span("cpu:0", 1, "run", 0, float("inf")), "finite"),
    ],
)
def test_a_span_that_makes_no_sense_is_refused(bad: Span, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        chart([bad])


def test_a_timeline_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no spans"):
        chart([])


def test_the_longest_spans_are_kept_when_there_are_too_many() -> None:
    spans = [span("cpu:0", 1, "run", i, i + 0.5) for i in range(MAX_BARS + 5)]
    spans.append(span("cpu:0", 1, "run", 5000, 5009))
    facts = chart(spans)
    assert len(facts.bars) == MAX_BARS
    assert facts.left_out == 6
    assert facts.bars[-1].end_s == 5009
    assert "6 shorter spans not drawn" in facts.summary


SPANS = st.builds(
    lambda device, job, kind, start, length: span(
        f"cpu:{device}", job, kind, start, start + length
    ),
    st.integers(0, 2),
    st.integers(1, 4),
    st.sampled_from(KINDS),
    st.integers(0, 40),
    st.integers(0, 9),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(SPANS, min_size=1, max_size=25))
def test_no_two_bars_overlap_and_none_is_lost(spans: list[Span]) -> None:
    facts = chart(spans)
    assert len(facts.bars) == len(spans)
    for index, bar in enumerate(facts.bars):
        assert bar.track < facts.tracks[bar.device]
        for other in facts.bars[index + 1 :]:
            if (bar.device, bar.track) == (other.device, other.track):
                assert bar.end_s <= other.start_s or other.end_s <= bar.start_s
    page(facts, "any spans can be drawn")


# ---- the pictures


def test_both_pictures_are_written_and_nothing_else(tmp_path: Path) -> None:
    pictures = draw(MOVED, tmp_path / "out" / "timeline", names={1: "train"})
    assert pictures.png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert pictures.png.stat().st_size > 10_000
    assert pictures.summary == "2 jobs of 2 tenants on 2 devices, 1 halt, 1 move, 14.0 s"
    assert sorted(path.name for path in pictures.png.parent.iterdir()) == [
        "timeline.html",
        "timeline.png",
    ]


def test_the_png_shows_each_tenants_colour(tmp_path: Path) -> None:
    from matplotlib.image import imread

    pixels = imread(draw(MOVED, tmp_path / "timeline").png)[..., :3]
    for colour in PALETTE[:2]:
        wanted = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        assert (abs(pixels - wanted).max(axis=2) < 0.01).mean() > 0.02


class Strict(HTMLParser):
    """Tags must nest; records every attribute that could fetch something."""

    VOID = frozenset({"meta", "path", "rect", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [f"{tag} {key}" for key, _ in attrs if key in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_fetches_nothing_and_shows_names_whatever_they_hold(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>&'
    notes = [Note(108.0, "opencl:1", f"note {evil}"), Note(108.0, "unknown:9", "of no lane")]
    spans = [*MOVED, span("opencl:1", 3, "run", 100, 108, tenant=f"tenant {evil}")]
    html = draw(
        spans, tmp_path / "t", names={1: f"job {evil}"}, notes=notes, title=f"title {evil}"
    ).html.read_text()
    strict = Strict()
    strict.feed(html)
    strict.close()
    assert strict.open == []
    assert strict.links == []
    assert "<script" not in html
    assert not re.search(r"https?:|url\((?!#)|@import", html)
    seen = "".join(strict.texts)
    for word in ("job", "tenant", "note", "title"):
        assert f"{word} {evil}" in seen
    assert "of no lane" not in seen


def test_the_page_marks_halts_and_moves_and_explains_only_what_it_shows() -> None:
    moved = page(chart(MOVED), "t")
    assert moved.count("halted at ") == 1
    assert "goes on on opencl:1 after 2.000 s" in moved
    assert "goes on elsewhere</li>" in moved
    quiet = page(chart([span("cpu:0", 1, "run", 0, 1)]), "t")
    assert "halted" not in quiet
    assert "elsewhere" not in quiet


def test_the_same_spans_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = draw(MOVED, tmp_path / "one"), draw(MOVED[::-1], tmp_path / "two")
    assert one.html.read_bytes() == two.html.read_bytes()
    assert one.png.read_bytes() == two.png.read_bytes()


@pytest.mark.parametrize("end_s", [0.0, 1e-4, 0.3, 1.0, 14.0, 99.0, 3600.0])
def test_ticks_are_round_and_few(end_s: float) -> None:
    step = tick_step(end_s)
    assert end_s / step <= 10
    assert f"{step:e}"[0] in "125"
