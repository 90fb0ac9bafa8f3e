"""`haltere store`: what a person sees of a store of checkpoints, and does to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hal import open_device
from proxy import operations
from proxy.errors import CheckpointRefused
from proxy.loopback import Loopback
from service.cli import app

BYTES = 600_000


def haltere(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["store", *args], env={"COLUMNS": "200"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[str]:
    """Two, of one session, of which a third changed between them."""
    loop = Loopback(open_device("cpu:0"), tmp_path / "root")
    context = loop.connect("job").open_context()
    found = []
    for change in range(2):
        buffer = context.alloc(BYTES)
        context.write(buffer, bytes(range(256)) * 2300)
        context.write(buffer, change.to_bytes(8, "little"), 512 << 10)
        context.finish()
        request = {"session": "job", "store": str(tmp_path / "store"), "timeout_s": 5}
        answer = operations.begin(loop.server, "1", request | {"do": "snapshot"}).poll()
        assert answer is not None
        found.append(str(answer["checkpoint"]))
    loop.close()
    return found


def test_checkpoints_are_listed_with_what_they_take_together(
    checkpoints: list[str], tmp_path: Path
) -> None:
    status, said = haltere("ls", "--store", str(tmp_path / "store"))
    assert status == 0
    for checkpoint, size in zip(checkpoints, ("585.9 KiB", "1.144 MiB"), strict=True):
        assert re.search(rf"{checkpoint[:12]} │ job .*{size}", said)
    ratio = re.search(r"2 checkpoints of 1.7\d+ MiB; .* distinct, .*: ([0-9.]+) to 1", said)
    assert ratio is not None and float(ratio[1]) > 10


def test_a_checkpoint_is_removed_and_its_garbage_given_back(
    checkpoints: list[str], tmp_path: Path
) -> None:
    store = ("--store", str(tmp_path / "store"))
    assert haltere("rm", checkpoints[1][:12], *store)[0] == 0
    status, said = haltere("gc", *store)
    assert status == 0
    assert re.search(r"[1-9]\d* blobs removed, [1-9]", said)
    assert haltere("verify", *store) == (0, said_of(1, tmp_path))
    with pytest.raises(CheckpointRefused, match="none begins so"):
        haltere("rm", checkpoints[1], *store)


def said_of(count: int, tmp_path: Path) -> str:
    found = haltere("verify", "--store", str(tmp_path / "store"))[1]
    assert found.startswith(f"{count} checkpoints, ") and found.endswith("nothing damaged")
    return found


def test_damage_is_told_and_repaired(checkpoints: list[str], tmp_path: Path) -> None:
    store = ("--store", str(tmp_path / "store"))
    pack = min((tmp_path / "store" / "packs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    raw = bytearray(pack.read_bytes())
    raw[100] ^= 1
    pack.write_bytes(raw)
    status, said = haltere("verify", *store)
    assert status == 1
    assert "blob" in said and checkpoints[0] in said
    assert haltere("verify", "--repair", *store)[0] == 0
    status, said = haltere("verify", *store)
    assert status == 1, "what needed it is still not whole"
    assert f"checkpoint {checkpoints[0]} needs" in said
    haltere("rm", *checkpoints, *store)
    assert said_of(0, tmp_path)


def test_the_store_lies_where_the_service_keeps_its_state(tmp_path: Path) -> None:
    source = (
        "from service.cli_store import DEFAULT_STORE; from service.settings import Settings; "
        "print(DEFAULT_STORE == str(Settings().state_dir / 'store'), DEFAULT_STORE)"
    )
    for given in ({"HALTERE_STATE_DIR": str(tmp_path)}, {}):
        plain = {k: v for k, v in os.environ.items() if k != "HALTERE_STATE_DIR"}
        said = subprocess.check_output([sys.executable, "-c", source], env=plain | given, text=True)
        assert said.split()[0] == "True", said
        assert not given or said.split()[1] == str(tmp_path / "store")
