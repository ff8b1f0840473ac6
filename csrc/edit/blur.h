// blur: the average of a field over a neighbourhood in mm.
#pragma once

#include "box/box.h"

namespace segae {

// Nearly a Gaussian of `sigma_mm`: three running means an axis, whose width is the odd number of voxels that comes
// nearest; the border value continues outside the box. In place.
void blur(const Box& box, double sigma_mm, int threads, float* values);

// How far the boundary runs from where it would after smoothing: the signed distance, held within +-3 sigma, less
// its blur. out[i] in mm, positive where smoothing adds. `squared` as in distance.h.
void roughness(const Box& box, const float* squared, double sigma_mm, int threads, float* out);

// The same on a CUDA device: pointers into its memory, work queued on `stream`.
void blur(const Box& box, double sigma_mm, const Stream& stream, float* values);
void roughness(const Box& box, const float* squared, double sigma_mm, const Stream& stream, float* out);

}  // namespace segae
