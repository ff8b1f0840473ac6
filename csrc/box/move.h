// move: between a volume and a box of it, and from one box to another.
#pragma once

#include "box/box.h"

namespace segae {

// The voxels of `source` that equal its label, within the box, as bytes 0 and 1.
void extract_mask(const MaskView& source, const Int3& origin, const Int3& shape, int threads, uint8_t* out);

// An image's values times slope plus intercept within the box; NaN becomes -1024 (air).
void extract_image(const VolumeView& source, double slope, double intercept, const Int3& origin, const Int3& shape,
                   int threads, float* out);

// A mask known within one box, seen through another; 0 outside the first.
void recut(const Box& source_box, const uint8_t* source, const Box& box, int threads, uint8_t* out);

// Every stride[axis]-th voxel along each axis; `out` has ceil(shape / stride) voxels.
void subsample(const uint8_t* source, const Int3& shape, const Int3& stride, int threads, uint8_t* out);

// The same on a CUDA device: views and pointers into its memory.
void extract_mask(const MaskView& source, const Int3& origin, const Int3& shape, const Stream& stream, uint8_t* out);
void extract_image(const VolumeView& source, double slope, double intercept, const Int3& origin, const Int3& shape,
                   const Stream& stream, float* out);
void recut(const Box& source_box, const uint8_t* source, const Box& box, const Stream& stream, uint8_t* out);
void subsample(const uint8_t* source, const Int3& shape, const Int3& stride, const Stream& stream, uint8_t* out);

// Writes a box into a uint8 volume on a CUDA device.
void paste(const VolumeView& volume, const Box& box, const uint8_t* values, const Stream& stream);

}  // namespace segae
