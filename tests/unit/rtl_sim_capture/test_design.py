"""A design's description: design.toml and file lists, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtl_sim.design import Design, literal, load_design
from rtl_sim.errors import DesignError


def test_a_toml_file_names_its_paths_from_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "design.toml").write_text(
        'sources = ["a.sv", "../b.v"]\ntop = "t"\ninclude = ["inc"]\nclocks = ["clk"]\n'
        'params = { W = 3, NAME = "x", GAIN = 1.5 }\ndefines = { N = 4 }\nresets = { rst_n = 0 }\n'
    )
    assert load_design(tmp_path / "design.toml") == Design(
        sources=(tmp_path / "a.sv", tmp_path / "../b.v"),
        top="t",
        params={"W": 3, "NAME": "x", "GAIN": "1.5"},
        include=(tmp_path / "inc",),
        defines={"N": "4"},
        clocks=("clk",),
        resets={"rst_n": 0},
    )


def test_a_file_list_is_read_as_simulators_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTL_PART", "part")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/more.f").write_text("# a comment\nc.v\n+define+DEEP\n")
    (tmp_path / "all.f").write_text(
        "// packages first\na.sv ${RTL_PART}/b.v\n+incdir+inc+other\n+define+A=1+B\n"
        "-I third\n-DC=2\n--top t // the chip\n-f sub/more.f\n"
    )
    assert load_design(tmp_path / "all.f") == Design(
        sources=(tmp_path / "a.sv", tmp_path / "part/b.v", tmp_path / "sub/c.v"),
        top="t",
        include=(tmp_path / "inc", tmp_path / "other", tmp_path / "third"),
        defines={"A": "1", "B": "", "C": "2", "DEEP": ""},
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("d.toml", 'sources = ["a.v"]\ntops = "t"\n', "unknown key 'tops'; a design has sources"),
        ("d.toml", 'top = "t"\n', "names no sources"),
        ("d.toml", "sources = [\n", "is not TOML"),
        ("d.toml", 'sources = ["a.v"]\nresets = { rst = "low" }\n', "resets = .* wrong type"),
        ("d.toml", 'sources = ["a.v"]\nresets = { rst = 2 }\n', "rst is active at level 2: say 0"),
        ("d.toml", 'sources = "a.v"\n', "sources = .* wrong type"),
        ("d.f", "a.v\n+vendor+x\n", r"d\.f:2: \+vendor\+x is not known"),
        ("d.f", "a.v\n-I\n", r"d\.f:2: nothing follows -I"),
        ("d.f", "-f d.f\n", "include each other"),
        ("d.f", "-f no.f\n", r"no\.f does not exist"),
        ("d.f", "// nothing\n", "names no sources"),
    ],
)
def test_what_no_design_has_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DesignError, match=message):
        load_design(tmp_path / name)


def test_a_description_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DesignError, match=r"no\.toml does not exist"):
        load_design(tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (-3, "-3"), ("1.5", "1.5"), ("8'hff", "8'hff"), ("two words", '"two words"'),
     ("", '""'), ('a"b\\', '"a\\"b\\\\"'), ("1x", '"1x"')],
)  # fmt: skip
def test_a_parameter_is_written_as_verilog_writes_it(value: int | str, text: str) -> None:
    assert literal(value) == text
