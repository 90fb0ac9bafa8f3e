"""Bundles: packed and loaded they are the same; whatever is not as the manifest says is refused."""

from __future__ import annotations

import contextlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bitstreams
from bitstreams import Bundle, Store
from bitstreams.__main__ import main
from bitstreams.errors import (
    BundleError,
    BundleMissing,
    DigestMismatch,
    ManifestInvalid,
    SchemaTooNew,
    SignatureInvalid,
    UnsafePath,
)
from bitstreams.manifest import digest_of, parse, parse_draft

FILES = {"rtl/top.v": b"module top; endmodule\n", "state.json": b"{}", "t/in.bin": b"\1\2",
         "t/out.bin": b"\3"}  # fmt: skip
DRAFT: dict[str, Any] = {
    "schema_version": 1,
    "name": "sample",
    "part": "verilator",
    "clock_mhz": 100,
    "top": "top",
    "sources": ["rtl/top.v"],
    "state_map": "state.json",
    "state_layout_id": "ab12",
    "kernels": [
        {
            "name": "k",
            "protocol": "ap_ctrl_hs",
            "args": [
                {"name": "src", "kind": "buffer", "offset": 16, "size_bytes": 8},
                {"name": "dst", "kind": "buffer", "offset": 28, "size_bytes": 8},
                {"name": "n", "kind": "scalar", "offset": 40, "size_bytes": 4},
            ],
        }
    ],
    "counters": [{"name": "cycles", "offset": 64}],
    "compatible_digests": ["0" * 64],
    "self_tests": [
        {
            "name": "known",
            "kernel": "k",
            "args": [["in", "t/in.bin"], ["out", 1], ["scalar", "02000000"]],
            "expected": ["t/out.bin"],
        }
    ],
    "signature": None,
}


def sample(**changes: Any) -> Bundle:
    return bitstreams.make(parse_draft({**DRAFT, **changes}, FILES), FILES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bitstreams.save(sample(), tmp_path / "sample")
    return tmp_path / "sample"


def test_a_packed_bundle_loads_as_it_was(folder: Path) -> None:
    assert bitstreams.load(folder) == sample()
    assert bitstreams.verify(folder, sample().digest) == sample().digest


def test_equal_content_has_an_equal_digest_and_any_change_another() -> None:
    assert sample().digest == sample().digest
    assert sample(clock_mhz=99).digest != sample().digest
    changed = {**FILES, "t/in.bin": b"\1\3"}
    assert bitstreams.make(parse_draft(DRAFT, changed), changed).digest != sample().digest


@pytest.mark.parametrize("path", [*FILES, "manifest.json"])
def test_a_changed_file_is_refused(folder: Path, path: str) -> None:
    data = bytearray((folder / path).read_bytes())
    data[-1] ^= 1
    (folder / path).write_bytes(data)
    with pytest.raises(BundleError):
        bitstreams.load(folder, sample().digest)


def test_a_missing_an_extra_and_an_absent_file_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "extra").write_bytes(b"")
    with pytest.raises(BundleError, match="extra"):
        bitstreams.load(folder)
    (folder / "extra").unlink()
    (folder / "state.json").unlink()
    with pytest.raises(BundleError, match="files missing"):
        bitstreams.load(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(ManifestInvalid, match="no manifest"):
        bitstreams.load(folder)
    with pytest.raises(BundleMissing):
        bitstreams.load(tmp_path / "nothing")


def test_a_bundle_that_is_not_the_one_asked_for_is_refused(folder: Path) -> None:
    with pytest.raises(DigestMismatch):
        bitstreams.load(folder, "1" * 64)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_links_are_refused(folder: Path, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    if kind == "file":
        outside.write_bytes(FILES["state.json"])
        (folder / "state.json").unlink()
        (folder / "state.json").symlink_to(outside)
    else:
        (folder / "t").rename(outside)
        (folder / "t").symlink_to(outside)
    with pytest.raises(UnsafePath, match="link"):
        bitstreams.load(folder)


@pytest.mark.parametrize(
    "path",
    [
        "../up",
        "/etc/passwd",
        "a/../../b",
        "a//b",
        "./a",
        "a\\b",
        "C:x",
        "",
        "manifest.json",
        "a\nb",
    ],
)
def test_paths_that_leave_the_bundle_are_refused(path: str) -> None:
    with pytest.raises(UnsafePath):
        parse_draft(DRAFT, {**FILES, path: b""})


def test_a_newer_schema_and_a_signature_nobody_can_check_are_refused() -> None:
    with pytest.raises(SchemaTooNew):
        sample(schema_version=2)
    with pytest.raises(SignatureInvalid):
        sample(signature="abc")


def kernel(**changes: Any) -> list[dict[str, Any]]:
    arg = {"name": "src", "kind": "buffer", "offset": 16, "size_bytes": 8, **changes}
    return [{"name": "k", "protocol": "ap_ctrl_hs", "args": [arg]}]


@pytest.mark.parametrize(
    "changes",
    [
        {"clock_mhz": 0},
        {"clock_mhz": "fast"},
        {"name": "a b"},
        {"name": None},
        {"unknown": 1},
        {"sources": ["absent.v"]},
        {"sources": "rtl/top.v"},
        {"state_map": None},
        {"state_map": 3},
        {"kernels": {}},
        {"kernels": [*DRAFT["kernels"], *DRAFT["kernels"]]},
        {"kernels": kernel(offset=4), "self_tests": []},
        {"kernels": kernel(offset=18), "self_tests": []},
        {"kernels": kernel(offset=5000), "self_tests": []},
        {"kernels": kernel(size_bytes=4), "self_tests": []},
        {"kernels": kernel(kind="stream"), "self_tests": []},
        {"kernels": kernel(offset=True), "self_tests": []},
        {"kernels": [{**DRAFT["kernels"][0], "protocol": "magic"}]},
        {"counters": [{"name": "cycles"}]},
        {"compatible_digests": ["short"]},
        {"self_tests": [{**DRAFT["self_tests"][0], "kernel": "other"}]},
        {"self_tests": [{**DRAFT["self_tests"][0], "expected": []}]},
        {"self_tests": [{**DRAFT["self_tests"][0], "args": []}]},
        {"self_tests": [{**DRAFT["self_tests"][0], "args": [["in", 3]]}]},
        {"self_tests": [{**DRAFT["self_tests"][0], "args": [["scalar", "0"]]}]},
    ],
)  # fmt: skip
def test_a_manifest_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ManifestInvalid):
        sample(**changes)


def test_two_arguments_at_one_register_are_refused() -> None:
    args = [
        {"name": "a", "kind": "buffer", "offset": 16, "size_bytes": 8},
        {"name": "b", "kind": "scalar", "offset": 20, "size_bytes": 4},
    ]
    with pytest.raises(ManifestInvalid, match="overlaps"):
        sample(kernels=[{**DRAFT["kernels"][0], "args": args}], self_tests=[])


@pytest.mark.parametrize("field", [*DRAFT, "files"])
def test_a_manifest_that_lacks_a_field_is_refused(field: str) -> None:
    raw = json.loads(sample().manifest_bytes)
    del raw[field]
    with pytest.raises(ManifestInvalid, match=field):
        parse(json.dumps(raw).encode())


@given(st.binary(max_size=60) | st.text(max_size=20).map(lambda text: json.dumps(text).encode()))
def test_arbitrary_bytes_are_no_manifest(data: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        parse(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.sampled_from([*DRAFT, "files"]), json_values)
def test_a_field_of_any_value_is_taken_or_refused_by_a_bundle_error(field: str, value: Any) -> None:
    raw = {**json.loads(sample().manifest_bytes), field: value}
    with contextlib.suppress(BundleError):
        assert parse(json.dumps(raw).encode())


def test_the_store_keeps_bundles_under_their_digests(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert store.digests() == ()
    digest = store.put(sample())
    assert store.put(sample()) == digest
    assert store.digests() == (digest,)
    assert store.get(digest) == sample()
    for absent in ("1" * 64, "../sample", digest.upper()):
        with pytest.raises(BundleMissing):
            store.get(absent)


def test_the_store_notices_damage_on_disk(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digest = store.put(sample())
    (tmp_path / digest / "t" / "in.bin").write_bytes(b"??")
    with pytest.raises(DigestMismatch):
        store.get(digest)


def test_a_bundle_is_never_written_over_another(folder: Path) -> None:
    with pytest.raises(BundleError, match="exists"):
        bitstreams.save(sample(), folder)


def test_errors_survive_pickling_with_code_and_disposition() -> None:
    error = pickle.loads(pickle.dumps(DigestMismatch("which")))
    assert (str(error), error.code, error.disposition) == ("which", "digest_mismatch", "caller")


def test_the_commands_pack_verify_and_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    for path, data in FILES.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
    draft = tmp_path / "draft.json"
    draft.write_text(json.dumps(DRAFT))
    out = tmp_path / "bundle"
    assert main(["pack", str(draft), str(source), str(out)]) == 0
    assert capsys.readouterr().out.strip() == sample().digest
    assert main(["verify", str(out), "--digest", sample().digest]) == 0
    assert main(["show", str(out)]) == 0
    assert "buffer src @0x10" in capsys.readouterr().out
    (out / "state.json").write_bytes(b"[]")
    assert main(["verify", str(out)]) == 1
    assert "digest_mismatch" in capsys.readouterr().err
    draft.write_text("[")
    assert main(["pack", str(draft), str(source), str(tmp_path / "two")]) == 1


def test_a_digest_is_blake2b_of_256_bits() -> None:
    assert digest_of(b"") == "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
