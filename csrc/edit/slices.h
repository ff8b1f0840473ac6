// slices: what lies between annotated slices.
#pragma once

#include "box/box.h"

namespace segae {

// A structure annotated on some slices of the box along `axis` only (ascending indices `kept`): between two of them
// the in-plane signed distances are interpolated linearly (Raya & Udupa, IEEE TMI 9, 1990), and where one of the two
// slices is empty the other tapers off. Slices before the first and after the last annotated one become empty.
void interpolate_slices(const Box& box, const uint8_t* mask, int axis, const int64_t* kept, int64_t n, int threads,
                        uint8_t* out);

// The same on a CUDA device: pointers into its memory, work queued on `stream`; `kept` lies in the host's.
void interpolate_slices(const Box& box, const uint8_t* mask, int axis, const int64_t* kept, int64_t n,
                        const Stream& stream, uint8_t* out);

}  // namespace segae
