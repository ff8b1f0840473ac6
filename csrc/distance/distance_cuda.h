// What other CUDA kernels use of the distance transform.
#pragma once

#include "distance/distance.h"

namespace segae {

// signed_squared_distance within each plane z of the box by itself.
void signed_squared_distance_in_planes(const uint8_t* mask, const Int3& shape, const Double3& spacing_mm, Sides sides,
                                       const Stream& stream, float* out);

}  // namespace segae
