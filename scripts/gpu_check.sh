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
  scripts/emulated.sh
fi
