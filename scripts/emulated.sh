#!/usr/bin/env bash
# Builds segae with the bodies of the CUDA kernels compiled for the host (tests/cuda_emulation), with AddressSanitizer
# and UBSan, and runs the tests of the GPU's path on it. Needs segae's build and test dependencies, no GPU and no nvcc;
# segae itself may be installed, but not editable.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/objects"
cp -r src/segae "$work/segae"
rm -f "$work"/segae/_core*.so

read -ra includes <<<"$(python -m pybind11 --includes)"
read -ra launcher <<<"${CMAKE_CXX_COMPILER_LAUNCHER:-}"
compile() {
  local object="$work/objects/${1//\//_}.o"
  "${launcher[@]}" g++ -O1 -g1 -std=c++17 -fPIC -fvisibility=hidden -ffp-contract=off -Wall -Wextra -Werror \
    -fsanitize=address,undefined -fno-sanitize-recover=all -DSEGAE_WITH_CUDA '-DSEGAE_VERSION="emulated"' \
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
g++ -shared -fsanitize=address,undefined "$work"/objects/*.o \
  -o "$work/segae/_core$(python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')" -lpthread

# What is tested must be what was built here: an editable install would come first.
found=$(PYTHONPATH="$work" python -c 'import segae; print(segae.__file__)')
if [[ $found != "$work"/* ]]; then
  echo "emulated: python imports segae from $found: uninstall it (pip uninstall segae) and run this again." >&2
  exit 2
fi
# numpy and Python keep memory to the end: leaks are not looked for.
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
  PYTHONPATH="$work" python -m pytest -q tests/test_perturb_cuda.py tests/test_batch_cuda.py "$@"
