#include "sample/sample.h"

#include <stdexcept>

#include "core/parallel.h"
#include "sample/sample_cpu.h"

namespace segae {

void sample(const VolumeView& image, const VolumeView* mask, const SampleSpec& spec, const std::vector<Plane>& planes,
            int threads, const SampleOutput& out) {
  const size_t row_axis = plane_axes(spec.axis).row, column_axis = plane_axes(spec.axis).column;
  for (const Channel& channel : spec.channels) {
    if (channel.is_mask && mask == nullptr) {
      throw std::invalid_argument("a mask channel needs a mask");
    }
  }
  const int64_t plane_size = spec.height * spec.width;
  const int64_t channels = static_cast<int64_t>(spec.channels.size());
  parallel_for(static_cast<int64_t>(planes.size()), threads, [&](int64_t i) {
    const Plane& plane = planes[static_cast<size_t>(i)];
    const FilterBank rows = make_filter_bank(
        filter_rule_of_crop(plane.row0, plane.row1, spec.height, image.shape[row_axis], spec.stop_at_crop),
        spec.height);
    const FilterBank columns = make_filter_bank(
        filter_rule_of_crop(plane.column0, plane.column1, spec.width, image.shape[column_axis], spec.stop_at_crop),
        spec.width);
    for (int64_t c = 0; c < channels; ++c) {
      const Channel& channel = spec.channels[static_cast<size_t>(c)];
      const VolumeView& source = channel.is_mask ? *mask : image;
      sample_plane_cpu(source, channel, spec, plane.index + channel.offset, plane.label, rows, columns,
                       out.data + (i * out.channels + out.place[static_cast<size_t>(c)]) * plane_size);
    }
  });
}

}  // namespace segae
