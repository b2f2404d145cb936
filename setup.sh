#!/bin/sh
# Makes .venv with everything the project needs; installs missing system packages where it may.
# Called by the Makefile; safe to call again.
set -eu
cd "$(dirname "$0")"

need=""
for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10} none; do
    [ "$python" = none ] && { need="$need python3 python3-venv"; python=python3; break; }
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && break
done
command -v "$python" >/dev/null && { "$python" -c 'import ensurepip' 2>/dev/null || need="$need python3-venv"; }
header='import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_paths()["include"] + "/Python.h"))'
command -v "$python" >/dev/null && { "$python" -c "$header" 2>/dev/null || need="$need python3-dev"; }
command -v "${CC:-cc}" >/dev/null || need="$need gcc libc6-dev"

if [ -n "$need" ]; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing$need"
        apt-get update -qq && apt-get install -y -qq --no-install-recommends $need >/dev/null
    else
        echo "missing system packages; type:  sudo apt-get install -y$need" >&2
        exit 2
    fi
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "Python 3.10 or newer is needed; $python is $("$python" -V)" >&2
    exit 2
}
[ -x .venv/bin/python ] || { echo "making .venv"; "$python" -m venv .venv; }
echo "installing the Python packages (the first time takes a minute)"
.venv/bin/python -m pip install -qq --disable-pip-version-check --editable '.[test]'
