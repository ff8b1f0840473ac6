#!/usr/bin/env bash
# Runs the tests of the GPU's path with the bodies of the CUDA kernels compiled for the host, under AddressSanitizer and
# UBSan. Needs no GPU and no nvcc; see scripts/sanitized.sh.
set -euo pipefail
exec "$(dirname "$0")/sanitized.sh" address python -m pytest -q tests/test_perturb_cuda.py tests/test_batch_cuda.py "$@"
