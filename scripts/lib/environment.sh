# Sourced by the scripts beside it: environment KIND makes sure that .venv in the checkout has what
# KIND (core, test or bench) needs, and sets $root. When it has, this costs no process but cksum.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
unset PYTHONPATH PYTHONHOME

environment() {
    # The stamp names what was installed from and where: a changed pyproject.toml or a moved
    # checkout installs again.
    wanted="$(cksum <"$root/pyproject.toml") $root"
    stamp="$root/.venv/.catclf-$1"
    if [ -r "$stamp" ] && IFS= read -r found <"$stamp" && [ "$found" = "$wanted" ] &&
        [ -x "$root/.venv/bin/python" ]; then
        return 0
    fi
    "$(suitable_python)" "$root/scripts/lib/install.py" "$root" "$1" "$wanted" >&2 || exit 2
}

suitable_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return 0
        fi
    done
    # None is new enough: the installer says so by the name and version of the usual one.
    command -v python3 || command -v python || echo python3
}
