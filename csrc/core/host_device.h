// Marks formulas that the CPU loop and the CUDA kernel of an operation share, so that the two cannot drift apart.
#pragma once

#ifdef __CUDACC__
#define SEGAE_HD __host__ __device__
#else
#define SEGAE_HD
#endif
