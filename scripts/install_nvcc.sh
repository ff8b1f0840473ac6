#!/bin/sh
# Inside a manylinux_2_28 container: NVIDIA's compiler and the static runtime, for the kernels of the x86-64 wheels.
set -eu
version=13-0
dnf -y install 'dnf-command(config-manager)'
dnf config-manager --add-repo https://developer.download.nvidia.com/compute/cuda/repos/rhel8/x86_64/cuda-rhel8.repo
dnf -y install "cuda-nvcc-$version" "cuda-cudart-devel-$version" "cuda-crt-$version" "libnvvm-$version"
