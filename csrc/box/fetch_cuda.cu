#include "box/fetch.h"

#include "cuda/cuda_util.h"

namespace segae {

namespace {

template <class Bits>
void fetch_items(const VolumeView& volume, const Int3& begin, const Int3& step, const Int3& shape, const Stream& stream,
                 void* out) {
  const int64_t n = shape[0] * shape[1] * shape[2];
  const DeviceBuffer<Bits> gathered(n, stream);
  Bits* items = gathered.data();
  for_each(n, stream, [=] __device__(int64_t i) {
    const Int3 at = place_of(shape, i);
    items[i] =
        load<Bits>(volume.at(begin[0] + at[0] * step[0], begin[1] + at[1] * step[1], begin[2] + at[2] * step[2]));
  });
  copy_to_host(out, items, n * static_cast<int64_t>(sizeof(Bits)), stream);
}

}  // namespace

void fetch(const VolumeView& volume, const Int3& begin, const Int3& step, const Int3& shape, const Stream& stream,
           void* out) {
  const int64_t size = visit(volume.dtype, [](auto tag) -> int64_t { return sizeof(typename decltype(tag)::type); });
  if (size == 1) fetch_items<uint8_t>(volume, begin, step, shape, stream, out);
  if (size == 2) fetch_items<uint16_t>(volume, begin, step, shape, stream, out);
  if (size == 4) fetch_items<uint32_t>(volume, begin, step, shape, stream, out);
  if (size == 8) fetch_items<uint64_t>(volume, begin, step, shape, stream, out);
}

}  // namespace segae
