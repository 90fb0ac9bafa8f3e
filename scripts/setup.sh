#!/usr/bin/env bash
# All set-up, idempotent: system packages, virtual environment, this project. Sourced by
# scripts/demo and scripts/test, which are what people run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Verilator compiles its models with g++ and make, and is itself started by perl; cocotb loads
# libpython into the simulation. The proxy's native halves are compiled against OpenCL's headers;
# programs that are not Python find drivers through ocl-icd's loader.
packages=(g++ make perl python3 python3-venv python3-dev libpython3.11 libatomic1
    opencl-headers ocl-icd-libopencl1 clinfo)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
    if [[ $(id -u) == 0 ]]; then
        echo "setup: installing ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null
    else
        echo "setup: missing system packages; as root run: apt-get install ${missing[*]}" >&2
        for tool in g++ make perl python3; do
            command -v "$tool" >/dev/null || { echo "setup: cannot go on without $tool" >&2; exit 1; }
        done
    fi
fi

venv=${HALTERE_VENV:-.venv}
python=${HALTERE_PYTHON:-python3}
stamp="$venv/.haltere-$(cat pyproject.toml proxy/native/*.?pp proxy/native/*/*.?pp scheduler/native/*.?pp scheduler/native/*/*.?pp | sha256sum | cut -c1-16)"
if [[ ! -e $stamp ]]; then
    echo "setup: creating $venv (about 1 GB of packages from PyPI, once)"
    "$python" -c 'import sys; assert sys.version_info >= (3, 11), "haltere needs Python 3.11 or newer"'
    [[ -x $venv/bin/python ]] || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --disable-pip-version-check -e '.[all]' >"$venv/setup.log" 2>&1 || {
        tail -n 40 "$venv/setup.log" >&2
        echo "setup: pip could not install the packages; the whole log is $venv/setup.log" >&2
        exit 1
    }
    touch "$stamp"
fi
export PATH="$(cd "$venv" && pwd)/bin:$PATH"
# A run starts hundreds of Python processes, which need not compile the same modules again.
unset PYTHONDONTWRITEBYTECODE
