# Set-up shared by scripts/demo, scripts/test and .ci/run. To be sourced by bash (3.2 or newer, for macOS).
#
# It finds Python and a C++ compiler, makes the virtual environment and installs edgemem into it, editable. What
# the commands then do is not known here. Variables: EDGEMEM_VENV (where the environment is; default: .venv in the
# repository), EDGEMEM_PYTHON (which Python makes it), CMAKE_ARGS (passed on to the build of llama.cpp).

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="${EDGEMEM_VENV:-$root/.venv}"
case "$venv" in /*) ;; *) venv="$PWD/$venv" ;; esac

say() { printf '%s\n' "$*" >&2; }

fail() { # message lines; exit 1
    printf 'error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Prints the first usable Python. A name can be there and still not run (version managers leave such stubs), or
# run without its venv module (Debian packs it apart), so each candidate is tried.
find_python() {
    local name found="" bare=""
    for name in ${EDGEMEM_PYTHON:+"$EDGEMEM_PYTHON"} python3.13 python3.12 python3.11 python3; do
        if new_enough "$name"; then
            if has_venv "$name"; then
                printf '%s\n' "$name"
                return
            fi
            bare="${bare:-$name}"
        elif "$name" -c '' >/dev/null 2>&1; then
            found="${found:-$("$name" --version 2>&1)}"
        fi
    done
    if [ -n "$bare" ]; then
        local version
        version="$("$bare" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
        fail "$bare has no venv module, which is needed to make a virtual environment." \
            "Debian, Ubuntu: sudo apt install python$version-venv" \
            "Others: install the complete Python $version." \
            "Then run this again."
    fi
    fail "edgemem needs Python 3.11 or newer; found ${found:-no Python at all}." \
        "Debian, Ubuntu: sudo apt install python3 python3-venv   (Debian 12 or Ubuntu 24.04 and later)" \
        "Fedora:         sudo dnf install python3.13" \
        "macOS:          brew install python@3.13" \
        "Then run this again, or name the right one: EDGEMEM_PYTHON=/path/to/python3"
}

# llama.cpp is compiled on this machine, for this processor. A compiler is tried and not only looked for: macOS has
# a c++ that merely offers to install one.
check_compiler() {
    local name
    for name in ${CXX:+"$CXX"} c++ g++ clang++; do
        # CXX may carry flags, so it is split on purpose.
        # shellcheck disable=SC2086
        if $name -x c++ -fsyntax-only - >/dev/null 2>&1 <<<'int main() { return 0; }'; then
            return
        fi
    done
    fail "no C++ compiler found; llama.cpp is compiled once, for this processor." \
        "Debian, Ubuntu: sudo apt install build-essential" \
        "Fedora:         sudo dnf install gcc gcc-c++ make" \
        "macOS:          xcode-select --install" \
        "Then run this again."
}

has_llama() { "$venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("llama_cpp") is None)'; }

# Makes the environment, or finishes one whose making was interrupted (venv may run again over its own leavings).
make_venv() {
    local python unfinished="$venv/edgemem-unfinished"
    if [ ! -f "$unfinished" ] && { [ -e "$venv/bin/python" ] || [ -L "$venv/bin/python" ]; }; then
        new_enough "$venv/bin/python" ||
            fail "the virtual environment $venv does not run, or has a Python older than 3.11." \
                "Remove it (rm -r '$venv') and run this again."
        return
    fi
    python="$(find_python)"
    say "making a virtual environment with $("$python" --version 2>&1): $venv"
    mkdir -p "$venv"
    touch "$unfinished"
    "$python" -m venv "$venv" >&2 || fail "could not make the virtual environment $venv (see above)." \
        "Debian, Ubuntu: sudo apt install python3-venv; then run this again."
    rm "$unfinished"
}

# How llama.cpp is compiled: no image input (a third less to build), native instructions but AMX, whose header in
# GCC 12 lets the compiler drop the tile configuration that ggml made: the first matrix then kills the process.
build_settings() {
    case "${CMAKE_ARGS:-}" in
    *LLAVA_BUILD*) ;;
    *) export CMAKE_ARGS="${CMAKE_ARGS:+$CMAKE_ARGS }-DLLAVA_BUILD=OFF" ;;
    esac
    export CXXFLAGS="${CXXFLAGS:+$CXXFLAGS }-U__AMX_INT8__"
    if [ -n "${SOURCE_DATE_EPOCH+set}" ]; then
        say "note: SOURCE_DATE_EPOCH is ignored, since llama.cpp would be built without SIMD and run very slowly"
        unset SOURCE_DATE_EPOCH
    fi
    export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(cores)}"
}

cores() { nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2; }

# What an install depends on: the place, the Python, pyproject.toml.
wanted_stamp() {
    "$venv/bin/python" -I -S -c '
import hashlib, pathlib, sys
root = sys.argv[1]
text = root.encode() + sys.version.encode() + pathlib.Path(root, "pyproject.toml").read_bytes()
print(hashlib.sha256(text).hexdigest())' "$root"
}

# Runs a command with its output in a log; says once a minute that it still runs; shows the log's end on failure.
quietly() { # log, command ...
    local log="$1" ticker status=0
    shift
    (
        minutes=0
        while sleep 60 >/dev/null 2>&1; do
            minutes=$((minutes + 1))
            say "  still at it, $minutes min (details: $log)"
        done
    ) </dev/null >/dev/null &
    ticker=$!
    # shellcheck disable=SC2064
    trap "kill $ticker 2>/dev/null || true" EXIT
    "$@" </dev/null >"$log" 2>&1 || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    trap - EXIT
    [ "$status" -eq 0 ] || tail -n 40 "$log" >&2
    return "$status"
}

# Installs the repository with the given extras (may be empty), unless the stamp says that it is done.
install_edgemem() {
    local extras="${1:-}" stamp="$venv/edgemem-installed" wanted had=""
    wanted="$(wanted_stamp)"
    [ ! -f "$stamp" ] || had="$(cat "$stamp")"
    case "$had" in
    "$wanted $extras") return ;;
    "$wanted "*) [ -n "$extras" ] || return 0 ;;
    esac
    if has_llama; then
        say "installing edgemem"
    else
        check_compiler
        build_settings
        say "installing edgemem; the first time this compiles llama.cpp for this machine, which takes 5-15 minutes"
    fi
    rm -f "$stamp"
    quietly "$venv/install.log" "$venv/bin/python" -m pip install --no-input --disable-pip-version-check \
        --progress-bar off -e "$root${extras:+[$extras]}" ||
        fail "the installation failed; the end of its log is above, all of it is in $venv/install.log" \
            "No network? It needs a Python package index once. A compiler error? Please report it with the log."
    printf '%s %s\n' "$wanted" "$extras" >"$stamp"
}
