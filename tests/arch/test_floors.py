"""The house's rules that a tool can check: floors, names, the size of the seam, style, types."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hal import driver

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hal", "bitstreams", "rtl_sim", "compiler", "proxy", "scheduler", "service")
TREES = (*PACKAGES, "tests", "benchmarks", "examples")
SEAM_METHODS = 20  # in all, those with a default too; the seam fits on one screen
MAX_LINES = 500  # of a source file: one idea each


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A tool of this environment, as a module or by its script beside the interpreter."""
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


def sources(*trees: str) -> list[Path]:
    return [path for tree in trees for path in sorted((ROOT / tree).rglob("*.py"))]


def methods(cls: type, *, abstract: bool) -> list[str]:
    return [
        name
        for name, member in vars(cls).items()
        if inspect.isfunction(member)
        and not name.startswith("_")
        and getattr(member, "__isabstractmethod__", False) == abstract
    ]


def test_imports_go_down_only() -> None:
    script = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [script, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", PACKAGES)
def test_no_other_distribution_shadows_a_package(name: str) -> None:
    found = importlib.import_module(name).__file__
    assert found is not None, f"{name} has no __init__.py"
    assert Path(found).parent == ROOT / name


def test_every_folder_of_code_is_a_package() -> None:
    bare = {
        path.parent for path in sources(*PACKAGES) if not (path.parent / "__init__.py").exists()
    }
    assert not bare


def test_the_packages_are_the_ones_that_are_built_and_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert tuple(project["tool"]["importlinter"]["root_packages"]) == PACKAGES
    assert tuple(project["tool"]["mypy"]["packages"]) == PACKAGES
    assert tuple(project["tool"]["setuptools"]["packages"]["find"]["include"]) == tuple(
        f"{name}*" for name in PACKAGES
    )


def test_the_seam_stays_small() -> None:
    seam = [
        *methods(driver.DriverContext, abstract=True),
        *methods(driver.DriverContext, abstract=False),
        *methods(driver.Driver, abstract=True),
        *methods(driver.Driver, abstract=False),
        *methods(driver.Backend, abstract=False),  # a protocol: all of them
    ]
    assert len(seam) <= SEAM_METHODS, seam


def test_the_hal_names_no_backend() -> None:
    """Also not in a string: backends are found by entry point alone."""
    kinds = {"opencl", "noop", "fpga", "fpga-sim", "pyopencl", "pynq"}
    for path in sorted((ROOT / "hal").glob("*.py")):
        tree = ast.parse(path.read_text())
        said = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not said & kinds, path.name


def test_files_stay_readable() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources(*PACKAGES)
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(*PACKAGES)
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_style_is_kept() -> None:
    present = [tree for tree in TREES if (ROOT / tree).is_dir()]
    done = run("-m", "ruff", "check", *present)
    assert done.returncode == 0, done.stdout
    done = run("-m", "ruff", "format", "--check", *present)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_types_are_right() -> None:
    done = run("-m", "mypy")
    assert done.returncode == 0, done.stdout
