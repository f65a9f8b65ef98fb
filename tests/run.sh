#!/usr/bin/env bash
# Everything that must hold, on a bare machine: environments, lint, types, import contracts, tests.
#   tests/run.sh                      all of it
#   tests/run.sh tests/sets -x     a part: the arguments go to pytest, and nothing else is run
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"

if [ ! -x .venv-test/bin/faceprep ]; then
    "$python" -m venv .venv-test
    .venv-test/bin/pip install --quiet --editable '.[dev]'
fi
if [ ! -x .venv-test/bin/mkdocs ]; then # an environment of an earlier version; the site's tests are skipped without
    .venv-test/bin/pip install --quiet --editable '.[docs]'
fi
if [ ! -x .venv-test/bin/moto_server ]; then # the object store of the tests, which are skipped without
    .venv-test/bin/pip install --quiet --editable '.[dev]'
fi
if ! .venv-test/bin/python -c 'import cv2' 2>/dev/null; then # OpenCV's wheels need these two from the system
    if [ "$(id -u)" = 0 ]; then sudo=""; else sudo="sudo"; fi
    $sudo apt-get update -qq && $sudo apt-get install -qq -y libgl1 libglib2.0-0
fi
if ! command -v chromium >/dev/null; then # the review page is driven in it; its tests are skipped without
    if [ "$(id -u)" = 0 ]; then sudo=""; else sudo="sudo"; fi
    $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium
fi
if ! command -v ffmpeg >/dev/null; then # the reference for odd videos; its tests are skipped without
    if [ "$(id -u)" = 0 ]; then sudo=""; else sudo="sudo"; fi
    $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends ffmpeg
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then
    echo "tests/run.sh: MXNet 1.9.1 needs Python 3.11; the tests against it are skipped" >&2
elif ! .venv-mxnet/bin/python -c 'import mxnet' 2>/dev/null; then
    "$python" -m venv .venv-mxnet # the reference: real MXNet, which needs an old NumPy
    .venv-mxnet/bin/pip install --quiet mxnet==1.9.1 numpy==1.23.5
fi

if [ $# -gt 0 ]; then
    exec .venv-test/bin/python -m pytest "$@"
fi
.venv-test/bin/python -m pytest -n 2 --dist worksteal # lint, format, types and import contracts are tests: tests/architecture
