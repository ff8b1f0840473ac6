#!/usr/bin/env bash
# Builds segae under a sanitizer, with the bodies of the CUDA kernels compiled for the host (tests/cuda_emulation), and
# runs a command with it:
#
#   scripts/sanitized.sh address COMMAND...   AddressSanitizer and UBSan
#   scripts/sanitized.sh thread COMMAND...    ThreadSanitizer
#
# Needs segae's build and test dependencies, no GPU and no nvcc; segae itself may be installed, but not editable.
# SEGAE_SANITIZED names a folder that keeps the build; the default is a temporary one.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=$1
shift
case $kind in
  address) sanitize=address,undefined library=libasan.so ;;
  thread) sanitize=thread library=libtsan.so ;;
  *) echo "sanitized: expected address or thread, got $kind" >&2 && exit 2 ;;
esac
work=${SEGAE_SANITIZED:-}
if [[ -z $work ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work/objects"
rm -rf "$work/segae"
cp -r src/segae "$work/segae"
rm -f "$work"/segae/_core*.so

read -ra includes <<<"$(python -m pybind11 --includes)"
read -ra launcher <<<"${CMAKE_CXX_COMPILER_LAUNCHER:-}"
compile() {
  local object="$work/objects/${1//\//_}.o"
  "${launcher[@]}" g++ -O1 -g1 -std=c++17 -fPIC -fvisibility=hidden -ffp-contract=off -Wall -Wextra -Werror \
    "-fsanitize=$sanitize" -fno-sanitize-recover=all -DSEGAE_WITH_CUDA '-DSEGAE_VERSION="emulated"' \
    -iquote tests/cuda_emulation -Icsrc "${includes[@]}" -x c++ -c "$1" -o "$object"
}
# csrc/cuda/*.cu talk to the CUDA runtime: tests/cuda_emulation stands in for them.
running=0
for source in csrc/*/*.cpp csrc/*/*.cu tests/cuda_emulation/*.cpp; do
  [[ $source == csrc/cuda/*.cu ]] && continue
  compile "$source" &
  running=$((running + 1))
  if ((running >= $(nproc))); then
    wait -n
    running=$((running - 1))
  fi
done
while ((running > 0)); do
  wait -n
  running=$((running - 1))
done
g++ -shared "-fsanitize=$sanitize" "$work"/objects/*.o \
  -o "$work/segae/_core$(python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')" -lpthread

# What is run must be what was built here: an editable install would come first.
found=$(PYTHONPATH="$work" python -c 'import segae; print(segae.__file__)')
if [[ $found != "$work"/* ]]; then
  echo "sanitized: python imports segae from $found: uninstall it (pip uninstall segae) and run this again." >&2
  exit 2
fi
# numpy and Python keep memory to the end: leaks are not looked for.
export LD_PRELOAD="$(g++ -print-file-name=$library) $(g++ -print-file-name=libstdc++.so)"
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONPATH="$work"
"$@"
