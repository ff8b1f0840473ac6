#!/usr/bin/env bash
# Do the kernels of perturbations write the same bytes whatever the compiler, its optimisation, the machine and the number
# of threads? Builds tests/same_bytes/kernels.cpp in every way that this machine can and compares with expected.txt beside it.
# ARM is run under qemu-user where aarch64-linux-gnu-g++ and qemu-aarch64-static are installed.
#
#   scripts/same_bytes.sh            checks
#   scripts/same_bytes.sh --accept   writes expected.txt anew: for a change of a kernel's results that is meant
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
expected=tests/same_bytes/expected.txt
failed=0

# NAME RUNNER COMPILER FLAGS...
check() {
  local name=$1 runner=$2
  shift 2
  "$@" -std=c++17 -ffp-contract=off -Icsrc tests/same_bytes/kernels.cpp \
    csrc/box/*_cpu.cpp csrc/distance/*_cpu.cpp csrc/edit/*_cpu.cpp \
    -o "$work/kernels" -lpthread
  local threads
  for threads in 1 3; do
    # shellcheck disable=SC2086 # no runner is no word
    $runner "$work/kernels" "$threads" >"$work/found.txt"
    if diff "$expected" "$work/found.txt"; then
      echo "same bytes: $name, $threads threads"
    else
      echo "OTHER BYTES: $name, $threads threads"
      failed=1
    fi
  done
}

if [ "${1:-}" = --accept ]; then
  g++ -O3 -std=c++17 -ffp-contract=off -Icsrc tests/same_bytes/kernels.cpp csrc/box/*_cpu.cpp csrc/distance/*_cpu.cpp \
    csrc/edit/*_cpu.cpp -o "$work/kernels" -lpthread
  "$work/kernels" 1 >"$expected"
fi
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  check "$compiler -O0" "" "$compiler" -O0
  check "$compiler -O3" "" "$compiler" -O3
  if [ "$(uname -m)" = x86_64 ]; then
    check "$compiler -O3 -march=x86-64-v3 (AVX2, FMA)" "" "$compiler" -O3 -march=x86-64-v3
  fi
done
if command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64-static >/dev/null; then
  check "ARM, -O0" qemu-aarch64-static aarch64-linux-gnu-g++ -static -O0
  check "ARM, -O3" qemu-aarch64-static aarch64-linux-gnu-g++ -static -O3
fi
exit "$failed"
