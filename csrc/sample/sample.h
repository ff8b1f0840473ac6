// sample: slices of a volume as network input, cut straight from the strided arrays.
//
// For each plane and channel: take the crop's voxels, turn them into numbers (HU window, or mask membership),
// resample them to `height` x `width` with the antialiased triangle filter that PIL calls BILINEAR (support
// max(scale, 1) source pixels on either side of the output pixel's centre, weights normalised over the pixels
// that exist), then apply the channel's gain and bias. Rows are filtered first, columns second; sums are double.
// Windowing precedes resampling, so that metal or air outside the window does not bleed into it.
#pragma once

#include <optional>
#include <vector>

#include "core/volume.h"
#include "cuda/stream.h"

namespace segae {

// One channel of the network's input.
struct Channel {
  bool is_mask = false;       // reads the mask instead of the image
  int64_t offset = 0;         // slices away from the plane, along the plane's axis
  double low = 0, high = 1;   // HU window, mapped to [0, 1] and clipped; image only
  double gain = 1, bias = 0;  // output = gain * resampled + bias
};

// One crop: slice `index` along the axis, rows [row0, row1) and columns [column0, column1) in voxel edges
// (voxel i covers [i, i + 1)); may be fractional and may leave the volume.
struct Plane {
  int64_t index;
  double row0, row1, column0, column1;
  int64_t label;  // which value of the mask array is this plane's mask
};

struct SampleSpec {
  int axis = 0;
  int64_t height = 0, width = 0;
  double slope = 1, intercept = 0;  // stored value -> HU
  double fill_hu = -1024;           // what lies outside the volume, and what NaN and infinity count as
  bool stop_at_crop = false;        // true: the filter sees nothing outside the crop (as when a cut image is resized)
  std::vector<Channel> channels;
};

// float32 [rows, channels, height, width]; channel c of a spec goes to channel place[c].
struct SampleOutput {
  float* data;
  int64_t channels;
  std::vector<int64_t> place;
};

// Plane i goes to row i of `out`. Output pixels whose centre is outside the volume, and slices outside it, hold
// `fill_hu` (image) or 0 (mask), windowed like the rest. `mask` may be null without mask channels.
void sample(const VolumeView& image, const VolumeView* mask, const SampleSpec& spec, const std::vector<Plane>& planes,
            int threads, const SampleOutput& out);

// Of a batch on a CUDA device: the pair of image and mask that a plane is cut from, and its row in the output.
struct BatchPlane {
  Plane plane;
  int64_t pair, row;
};

// The same on a CUDA device, for planes of many volumes. One launch finds the weights of all planes, one reads the
// images and one the masks (of each type that occurs). `masks` may be empty without mask channels. Builds with CUDA
// only.
void sample(const std::vector<VolumeView>& images, const std::vector<VolumeView>& masks, const SampleSpec& spec,
            const std::vector<BatchPlane>& planes, const Stream& stream, const SampleOutput& out);

}  // namespace segae
