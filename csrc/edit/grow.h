// grow: a mask that leaks into its surroundings where the image looks like the inside of the mask.
#pragma once

#include "box/box.h"

namespace segae {

struct GrowRule {
  Double3 start_mm;  // the leak starts from the mask's surface within
  double start_radius_mm;
  double centre_hu;  // the tissue that the leak follows, and
  double width_hu;   // how far a voxel may be from it before a step costs twice as much
  double most_mm;    // arrivals beyond this are infinite
};

// out[i] = cost in mm of the cheapest path to voxel i outside the mask from the start; infinity in the mask and where
// no path leads. A path goes over the 18 face and edge neighbours outside the mask; its steps cost their length times
// 1 + ((HU - centre) / width)^2, at most 16 times, of the voxel that they enter (Dijkstra, on a bounded front).
void arrival(const Box& box, const uint8_t* mask, const float* image_hu, const GrowRule& rule, float* out);

// The same on a CUDA device, by relaxing all voxels until none changes: the same sums, so the same floats.
void arrival(const Box& box, const uint8_t* mask, const float* image_hu, const GrowRule& rule, const Stream& stream,
             float* out);

}  // namespace segae
