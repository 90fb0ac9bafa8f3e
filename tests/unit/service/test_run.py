"""What `haltere serve` leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.run import meeting_place


@pytest.mark.parametrize("pool_is_there", [False, True])
def test_where_servers_meet_is_gone_after_an_error_unless_a_pool_is_there(
    tmp_path: Path, pool_is_there: bool
) -> None:
    with pytest.raises(ZeroDivisionError), meeting_place(tmp_path) as root:
        assert root.is_dir()
        if pool_is_there:  # running, or killed and to be taken over
            (tmp_path / "running.json").touch()
        raise ZeroDivisionError
    assert root.exists() == pool_is_there
    if pool_is_there:
        (tmp_path / "running.json").unlink()
        with meeting_place(tmp_path):
            pass
        assert not root.exists()
