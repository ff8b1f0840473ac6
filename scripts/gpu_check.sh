#!/usr/bin/env bash
# Checks the CUDA kernels as far as this machine allows. Needs an environment with segae's build and test dependencies
# (scikit-build-core, pybind11, pytest, torch) on PATH.
#
#   with a GPU      builds with SEGAE_CUDA=ON, runs `pytest -m gpu`, then once more under compute-sanitizer's memcheck
#   without one     compiles the kernels where nvcc is found, then runs their bodies on the host with AddressSanitizer
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

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
  # An editable install of segae comes before PYTHONPATH unless its finder is taken out.
  cat >"$work/sitecustomize.py" <<'EOF'
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "ScikitBuildRedirectingFinder"]
EOF
  # numpy and Python keep memory to the end: leaks are not looked for.
  export LD_PRELOAD ASAN_OPTIONS=detect_leaks=0 PYTHONPATH="$work"
  LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
  python -c 'from segae import _core; assert _core.cuda_devices() == ["emulated"], _core.__file__'
  python -m pytest -q tests/test_perturb_cuda.py
}

if nvidia-smi -L >/dev/null 2>&1; then
  SEGAE_CUDA=ON SEGAE_WERROR=ON pip install -q --no-build-isolation --no-deps --target "$work" .
  export PYTHONPATH="$work"
  python -m pytest -m gpu
  # memcheck slows kernels down by orders of magnitude: the small cases are enough.
  compute-sanitizer --tool memcheck --error-exitcode 1 python -m pytest -q -m gpu tests/test_perturb_cuda.py -k odd_sizes
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
