#!/usr/bin/env bash
# Checks the CUDA kernels as far as this machine allows. Needs an environment with segae's build and test dependencies
# (scikit-build-core, pybind11, pytest, torch; for the benchmarks also onnx) on PATH, in which segae is not installed.
#
#   with a GPU      builds with SEGAE_CUDA=ON, runs `pytest -m gpu`, then small cases under compute-sanitizer's memcheck,
#                   then benchmarks/bench_gpu.py; all of it is told in gpu_check_results.md (or $1)
#   without one     compiles the kernels where nvcc is found, then runs their bodies on the host with AddressSanitizer
set -euo pipefail
cd "$(dirname "$0")/.."

results=${1:-gpu_check_results.md}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tests=(tests/test_perturb_cuda.py tests/test_batch_cuda.py)

emulate() {
  mkdir "$work/objects"
  cp -r src/segae "$work/segae"
  rm -f "$work"/segae/_core*.so
  local flags=(-O1 -g -std=c++17 -fPIC -fvisibility=hidden -ffp-contract=off -Wall -Wextra -Werror
    -fsanitize=address,undefined -fno-sanitize-recover=all -DSEGAE_WITH_CUDA '-DSEGAE_VERSION="emulated"'
    -iquote tests/cuda_emulation -Icsrc)
  local source
  for source in csrc/*.cpp csrc/*/*.cpp csrc/*/*.cu tests/cuda_emulation/*.cpp; do
    # shellcheck disable=SC2046 # the includes are several words
    g++ "${flags[@]}" $(python -m pybind11 --includes) -x c++ -c "$source" -o "$work/objects/${source//\//_}.o"
  done
  local suffix
  suffix=$(python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
  g++ -shared -fsanitize=address,undefined "$work"/objects/*.o -o "$work/segae/_core$suffix" -lpthread
  check_import
  # numpy and Python keep memory to the end: leaks are not looked for.
  LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
    PYTHONPATH="$work" python -m pytest -q "${tests[@]}"
}

# What is tested must be what was built here: an editable install would come first.
check_import() {
  local found
  found=$(PYTHONPATH="$work" python -c 'import segae; print(segae.__file__)')
  if [[ $found != "$work"/* ]]; then
    echo "gpu_check: python imports segae from $found: uninstall it (pip uninstall segae) and run this again." >&2
    exit 2
  fi
}

# Runs a step and writes down how it ended; the steps after it run all the same.
failed=0
step() {
  local name=$1
  shift
  if "$@" 2>&1 | tee "$work/log"; then
    echo "- $name: passed ($(tail -n 1 "$work/log"))" >>"$results"
  else
    echo "- $name: FAILED ($(tail -n 1 "$work/log"))" >>"$results"
    failed=1
  fi
}

if nvidia-smi -L >/dev/null 2>&1; then
  {
    echo "# GPU check, $(date +%F)"
    echo
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    nvcc --version | tail -n 1
    echo
  } >"$results"
  SEGAE_CUDA=ON SEGAE_WERROR=ON pip install -q --no-build-isolation --no-deps --target "$work" .
  check_import
  export PYTHONPATH="$work"
  step "GPU tests" python -m pytest -q -m gpu
  # memcheck slows kernels down by orders of magnitude, and ONNX Runtime's are not ours: small cases of our own do.
  step "compute-sanitizer memcheck" compute-sanitizer --tool memcheck --error-exitcode 1 \
    python -m pytest -q -m gpu "${tests[@]}" -k "odd_sizes or scan or sample or pieces"
  step "benchmarks" python benchmarks/bench_gpu.py --out "$results"
  echo "gpu_check: results in $results"
  exit "$failed"
else
  echo "gpu_check: no GPU here (nvidia-smi lists none). The kernels are compiled and emulated, not run."
  if command -v nvcc >/dev/null; then
    SEGAE_CUDA=ON SEGAE_WERROR=ON pip install -q --no-build-isolation --no-deps --target "$work/compiled" .
    echo "gpu_check: the kernels compile."
  else
    echo "gpu_check: nvcc is not on PATH, so the kernels are not compiled for a GPU either."
  fi
  emulate
fi
