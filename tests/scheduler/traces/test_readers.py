"""Readers: what they make of rows, and how they tell of damage. The rows here are made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.core.values import Tier
from scheduler.errors import TraceDamaged
from scheduler.traces.readers import (
    READERS,
    azure,
    openb_hosts,
    openb_nodes,
    openb_pods,
    read,
)
from scheduler.traces.select import Selection, halves

PHILLY = "timestamp,duration,num_gpus,gpu_time,cluster\n"
ITP = "job_id,submission_time,duration,num_gpu\n"
OPENB = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,"
    "creation_time,deletion_time,scheduled_time\n"
)


def file(folder: Path, text: str) -> str:
    path = folder / "trace.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_philly_jobs_come_by_time_from_zero(tmp_path: Path) -> None:
    rows = "2017-10-09 07:01:55,66.0,1,66.0,x\n2017-10-09 07:00:00,10,4,40,y\n"
    trace = read(file(tmp_path, PHILLY + rows))
    first, second = trace.jobs
    assert (first.submitted_s, first.count, first.tenant) == (0, 4, "y")
    assert (second.submitted_s, second.duration_s, second.tenant) == (115, 66, "x")
    assert trace.span_s == 115 and trace.offered_load(2) == (66 + 40) / 230


def test_itp_jobs_of_one_moment_keep_their_order(tmp_path: Path) -> None:
    trace = read(file(tmp_path, ITP + "b,5,10,1\na,5,20,2\n\n"))
    assert [job.name for job in trace.jobs] == ["b", "a"]


def test_openb_pods_have_shares_types_and_tiers(tmp_path: Path) -> None:
    rows = (
        "p0,1,1,1,460,V100M16|V100M32|V100M16,LS,Running,0,100,10\n"
        "p1,1,1,0,0,,BE,Running,0,100,10\n"
        "p2,1,1,8,1000,,BE,Pending,5,25,\n"
    )
    shared, waited = read(file(tmp_path, OPENB + rows)).jobs
    assert shared.types == ("V100M16", "V100M32") and shared.tier is Tier.PREMIUM
    assert shared.work_s == 90 * 0.46
    assert (waited.count, waited.duration_s, waited.tier) == (8, 20, Tier.BASIC)


def test_azure_requests_come_by_time(tmp_path: Path) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
    text += "2023-11-16 18:15:46.1,1,2\n"
    first, second = azure(Path(file(tmp_path, text)))
    assert (first.at_s, first.output_tokens, second.input_tokens) == (0, 2, 374)
    assert abs(second.at_s - 0.58059) < 1e-5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PHILLY + "2017-10-09 07:01:55,x,1,1,a\n", "line 2, column duration: 'x'"),
        (PHILLY + "2017-10-09 07:01:55,nan,1,1,a\n", "line 2, column duration"),
        (PHILLY + "2017-10-09 07:01:55,-1,1,1,a\n", "a number from 0"),
        (PHILLY + "yesterday,1,1,1,a\n", "line 2, column timestamp"),
        (PHILLY + "2017-10-09 07:01:55,1,1.5,1,a\n", "a whole number"),
        (PHILLY + "2017-10-09 07:01:55,1,0,1,a\n", "column num_gpus"),
        (PHILLY + "2017-10-09 07:01:55,1\n", "line 2: 2 cells, but the header has 5"),
        (PHILLY, "no jobs"),
        ("", "those of no known trace"),
        ("a,b\n1,2\n", "those of no known trace"),
        ("timestamp,num_gpus\n", "no column duration, cluster"),
        (PHILLY + "2017-10-09 07:01:55,1_000,1,1,a\n", "column duration: '1_000'"),
        (PHILLY + "2017-10-09 07:01:55,\u0661,1,1,a\n", "column duration"),
        (PHILLY + "2017-10-09 07:01:55,1,1,1,\n", "column cluster: '' is not a name"),
        (ITP + "a,1e999,1,1\n", "column submission_time: '1e999'"),
        (ITP + "a,0,1,1\n,0,1,1\n", "line 3, column job_id: '' is not a name"),
        (ITP + "a\0b,0,1,1\n", "is not a name"),
        (
            ITP + "a,0,1,1\nb,0,1,1\na,5,1,1\n",
            "line 4, column job_id: 'a' is not there once: line 2",
        ),
        (OPENB + "p,1,1,1,460,,LS,R,0,1,0\n" * 2, "line 3, column name: 'p' is not there once"),
        (ITP + "a,0,1,1\n" + "x" * 200_000 + ",0,1,1\n", "after line 2: no CSV file"),
        (OPENB + "p0,1,1,1,460,,GOLD,Running,0,1,0\n", "one of LS, Guaranteed"),
        (OPENB + "p0,1,1,1,460,,LS,Running,10,5,10\n", "column deletion_time"),
    ],
)
def test_damage_is_told_by_row_and_column(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(TraceDamaged, match=said.replace("(", r"\(")):
        read(file(tmp_path, text))


def test_a_node_is_there_once(tmp_path: Path) -> None:
    rows = "sn,cpu_milli,memory_mib,gpu,model\n" + "n0,64000,262144,2,P100\n" * 2
    with pytest.raises(TraceDamaged, match="line 3, column sn: 'n0' is not there once: line 2"):
        openb_nodes(Path(file(tmp_path, rows)))


def test_what_is_no_text_or_no_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TraceDamaged, match=r"trace\.csv"):
        read(str(path))
    with pytest.raises(TraceDamaged, match=r"no CSV file in UTF-8|trace\.csv"):
        read(f"itp:{path}")
    with pytest.raises(TraceDamaged, match="No such file"):
        read(str(tmp_path / "nowhere.csv"))


def test_a_selection_takes_consecutive_jobs_and_rounds_gangs(tmp_path: Path) -> None:
    rows = "".join(f"j{i},{i * 10},{i * 100},{i + 1}\n" for i in range(10))
    trace = read(file(tmp_path, ITP + rows))
    chosen = Selection(shortest_s=200, longest_s=800, largest=4, first=1, count=3).of(trace)
    assert [(job.name, job.submitted_s, job.count) for job in chosen.jobs] == [
        ("j3", 0, 4),
        ("j4", 10, 4),
        ("j5", 20, 4),
    ]
    with pytest.raises(TraceDamaged, match="10 are left"):
        Selection(first=8, count=3).of(trace)
    before, after = halves(trace)
    assert [len(before.jobs), len(after.jobs)] == [5, 5] and after.jobs[0].submitted_s == 0


WHOLE = {
    "philly": PHILLY + "2017-10-09 07:01:55,66.0,1,66.0,x\n2017-10-09 07:00:00,10,4,40,y\n",
    "itp": ITP + "a,5,10,1\nb,6,20.5,2\n",
    "openb": OPENB + "p0,1,1,1,460,V100|P100,LS,Running,0,100,10\np1,1,1,0,0,,BE,Running,0,9,\n",
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n",
    "nodes": "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\nn1,1,1,0,\n",
}
PIECES = (
    ",",
    "\n",
    "\r",
    '"',
    "-",
    "e9",
    "nan",
    "inf",
    "0",
    "9" * 30,
    "\0",
    "\xff",
    "1e999",
    " ",
    "",
)


@settings(
    max_examples=120, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    kind=st.sampled_from(sorted(WHOLE)),
    cuts=st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 9), st.sampled_from(PIECES)), max_size=4
    ),
)
def test_whatever_stands_in_a_file_is_read_or_refused_by_its_name(
    tmp_path: Path, kind: str, cuts: list[tuple[int, int, str]]
) -> None:
    data = WHOLE[kind].encode()
    for at, length, piece in cuts:
        data = data[:at] + piece.encode("latin-1") + data[at + length :]
    path = tmp_path / "given.csv"
    path.write_bytes(data)
    read_by: dict[str, Callable[[Path], object]] = {
        **READERS, "azure": azure, "nodes": openb_nodes, "openb": openb_hosts
    }  # fmt: skip
    for reader in (read_by[kind], openb_pods) if kind == "openb" else (read_by[kind],):
        try:
            reader(path)
        except TraceDamaged as error:
            assert "given" in str(error)
