#!/bin/sh
# Print the path of an interpreter of the wanted version (default: the one in .python-version).
# usage: tools/find_python.sh [3.10]      A PYTHON variable in the environment is tried first.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
want=${1:-$(cat "$here/.python-version")}

usable() { # does this command run, and is it the wanted version with venv?
  "$1" -c "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != tuple(map(int, '$want'.split('.')[:2])))" \
    >/dev/null 2>&1
}

offer() { # print the real interpreter behind a command and stop
  if [ -n "$1" ] && usable "$1"; then
    "$1" -c 'import sys; print(sys.executable)'
    exit 0
  fi
}

offer "${PYTHON:-}"
if [ -n "${PYTHON:-}" ]; then echo "PYTHON=$PYTHON is no Python $want with venv; looking for another." >&2; fi
offer "python$want"
for root in "${PYENV_ROOT:-${HOME:-}/.pyenv}" "$(pyenv root 2>/dev/null)"; do
  for candidate in "$root"/versions/"$want"*/bin/python; do offer "$candidate"; done
done
if command -v uv >/dev/null 2>&1; then offer "$(uv python find "$want" 2>/dev/null)"; fi
for candidate in "/usr/bin/python$want" "/usr/local/bin/python$want" "/opt/homebrew/bin/python$want" \
  "${CONDA_PREFIX:-/nonexistent}/bin/python" python3 python; do offer "$candidate"; done

reason=
if [ "$want" = "3.10" ]; then reason="Lava runs on Python 3.10 only. "; fi
cat >&2 <<MESSAGE
No Python $want with venv was found (tried \$PYTHON, python$want, pyenv, uv, conda and the usual folders).
${reason}Install it with one of
    pyenv install $want        uv python install $want        apt-get install python$want-venv
or name an interpreter:  make PYTHON=/path/to/python$want ...
MESSAGE
exit 1
