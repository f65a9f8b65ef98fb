#!/usr/bin/env bash
# Everything that must hold, on a bare machine: environments, lint, types, import contracts, tests.
#   tests/run.sh                      all of it
#   tests/run.sh tests/sets -x     a part: the arguments go to pytest, and nothing else is run
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # hundreds of Pythons start, and each would compile all that it loads
python="${PYTHON:-python3}"

make_environment() {
    [ -x .venv-test/bin/faceprep ] || "$python" -m venv .venv-test
    # mkdocs, moto_server and deflate are missing from the environment of an earlier version
    if [ ! -x .venv-test/bin/faceprep ] || [ ! -x .venv-test/bin/mkdocs ] || [ ! -x .venv-test/bin/moto_server ] ||
        ! .venv-test/bin/python -c 'import deflate' 2>/dev/null; then
        .venv-test/bin/pip install --quiet --no-compile --editable '.[dev]'
    fi
}

make_reference() { # real MXNet, which needs an old NumPy
    if ! "$python" -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then
        echo "tests/run.sh: MXNet 1.9.1 needs Python 3.11; the tests against it are skipped" >&2
    elif ! .venv-mxnet/bin/python -c 'import mxnet' 2>/dev/null; then
        "$python" -m venv .venv-mxnet
        .venv-mxnet/bin/pip install --quiet --no-compile mxnet==1.9.1 numpy==1.23.5
    fi
}

install() { # packages of the system
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"
}

install_programs() { # chromium drives the review page, ffmpeg is the reference for odd videos; their tests are skipped without
    command -v chromium >/dev/null && command -v ffmpeg >/dev/null || install chromium ffmpeg
}

make_reference &
reference=$!
install_programs &
programs=$!
make_environment
wait $reference
wait $programs
# OpenCV's wheels need these two from the system
.venv-test/bin/python -c 'import cv2' 2>/dev/null || install libgl1 libglib2.0-0

if [ $# -gt 0 ]; then
    exec .venv-test/bin/python -m pytest "$@"
fi
.venv-test/bin/python -m pytest -n 2 --dist worksteal # lint, format, types and import contracts are tests: tests/architecture
