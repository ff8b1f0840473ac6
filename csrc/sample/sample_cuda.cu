#include <algorithm>
#include <map>

#include "cuda/cuda_util.h"
#include "sample/sample_formula.h"

namespace segae {

namespace {

// Where a plane is cut, and how its rows and its columns are filtered.
struct Cut {
  int64_t index, label, pair, row;
  FilterRule along[2];
};

// Weights of all planes: for each, `height` outputs along the rows, then `width` along the columns.
struct Banks {
  int64_t taps;
  int64_t* first;
  int64_t* count;
  double* weight;
};

struct ChannelTerms {
  Window window;
  int64_t offset, place;  // slices away from the plane; which channel of the output
  float fill, gain, bias;
};

struct Layout {
  int axis, row_axis, column_axis;
  int64_t height, width, channels;  // of the output
};

void write_banks(const Cut* cuts, int64_t planes, int64_t height, int64_t width, const Banks& banks,
                 const Stream& stream) {
  const int64_t outputs = height + width;
  for_each(planes * outputs, stream, [=] __device__(int64_t i) {
    const int64_t output = i % outputs;
    const bool is_row = output < height;
    banks.count[i] = write_taps(cuts[i / outputs].along[is_row ? 0 : 1], is_row ? output : output - height,
                                banks.first + i, banks.weight + i * banks.taps);
  });
}

// One output pixel. Rows are summed first, columns second, in the order of the CPU's loop.
template <class T, class Convert>
SEGAE_HD float resample_at(const std::byte* plane, int64_t row_stride, int64_t column_stride, const Banks& banks,
                           int64_t row_bank, int64_t column_bank, const Convert& convert) {
  const double* row_weight = banks.weight + row_bank * banks.taps;
  const double* column_weight = banks.weight + column_bank * banks.taps;
  const std::byte* corner = plane + banks.first[row_bank] * row_stride + banks.first[column_bank] * column_stride;
  double total = 0;
  for (int64_t x = 0; x < banks.count[column_bank]; ++x) {
    double sum = 0;
    for (int64_t y = 0; y < banks.count[row_bank]; ++y) {
      sum += row_weight[y] * static_cast<double>(convert(load<T>(corner + y * row_stride + x * column_stride)));
    }
    total += column_weight[x] * sum;
  }
  return static_cast<float>(total);
}

template <class T>
SEGAE_HD inline auto converter(const ChannelTerms& channel, const Cut&, std::false_type) {
  return channel.window;
}
template <class T>
SEGAE_HD inline auto converter(const ChannelTerms&, const Cut& cut, std::true_type) {
  return Membership<T>(cut.label);
}

// `chosen` planes, whose sources are of type T; channels of images, or of masks.
template <class T, class IsMask>
void sample_channels(const Layout& layout, const VolumeView* sources, const Cut* cuts, const Banks& banks,
                     const int64_t* chosen, int64_t planes, const ChannelTerms* channels, int64_t channel_count,
                     const Stream& stream, float* out) {
  const int64_t height = layout.height, width = layout.width;
  for_each(planes * channel_count * height * width, stream, [=] __device__(int64_t i) {
    const int64_t x = i % width, y = i / width % height, c = i / (width * height) % channel_count;
    const int64_t p = chosen[i / (width * height * channel_count)];
    const ChannelTerms& channel = channels[c];
    const VolumeView& source = sources[cuts[p].pair];
    const int64_t index = cuts[p].index + channel.offset;
    const int64_t row_bank = p * (height + width) + y, column_bank = p * (height + width) + height + x;
    const size_t axis = static_cast<size_t>(layout.axis);
    float value = channel.fill;
    if (index >= 0 && index < source.shape[axis] && banks.count[row_bank] > 0 && banks.count[column_bank] > 0) {
      value =
          resample_at<T>(source.data + index * source.stride[axis], source.stride[static_cast<size_t>(layout.row_axis)],
                         source.stride[static_cast<size_t>(layout.column_axis)], banks, row_bank, column_bank,
                         converter<T>(channel, cuts[p], IsMask{}));
    }
    out[((cuts[p].row * layout.channels + channel.place) * height + y) * width + x] =
        channel.gain * value + channel.bias;
  });
}

template <class IsMask>
void sample_sources(const Layout& layout, const std::vector<VolumeView>& sources, const std::vector<BatchPlane>& planes,
                    const Cut* cuts, const Banks& banks, const std::vector<ChannelTerms>& channels,
                    const Stream& stream, float* out) {
  if (channels.empty()) return;
  std::map<DType, std::vector<int64_t>> planes_of;
  for (size_t i = 0; i < planes.size(); ++i) {
    planes_of[sources[static_cast<size_t>(planes[i].pair)].dtype].push_back(static_cast<int64_t>(i));
  }
  const DeviceBuffer<VolumeView> sources_on_device(sources, stream);
  const DeviceBuffer<ChannelTerms> channels_on_device(channels, stream);
  for (const auto& [dtype, chosen] : planes_of) {
    const DeviceBuffer<int64_t> chosen_on_device(chosen, stream);
    const int64_t n = static_cast<int64_t>(chosen.size());
    visit(dtype, [&](auto tag) {
      sample_channels<typename decltype(tag)::type, IsMask>(layout, sources_on_device.data(), cuts, banks,
                                                            chosen_on_device.data(), n, channels_on_device.data(),
                                                            static_cast<int64_t>(channels.size()), stream, out);
    });
  }
}

}  // namespace

void sample(const std::vector<VolumeView>& images, const std::vector<VolumeView>& masks, const SampleSpec& spec,
            const std::vector<BatchPlane>& planes, const Stream& stream, const SampleOutput& out) {
  if (planes.empty()) return;
  const Layout layout{spec.axis, spec.axis == 0 ? 1 : 0, spec.axis == 2 ? 1 : 2, spec.height, spec.width, out.channels};
  std::vector<Cut> cuts;
  int64_t taps = 1;
  for (const auto& [plane, pair, row] : planes) {
    const Int3& shape = images[static_cast<size_t>(pair)].shape;
    const FilterRule rows = filter_rule_of_crop(plane.row0, plane.row1, spec.height,
                                                shape[static_cast<size_t>(layout.row_axis)], spec.stop_at_crop);
    const FilterRule columns = filter_rule_of_crop(plane.column0, plane.column1, spec.width,
                                                   shape[static_cast<size_t>(layout.column_axis)], spec.stop_at_crop);
    cuts.push_back({plane.index, plane.label, pair, row, {rows, columns}});
    taps = std::max({taps, rows.most_taps(), columns.most_taps()});
  }
  std::vector<ChannelTerms> of_image, of_mask;
  for (size_t c = 0; c < spec.channels.size(); ++c) {
    const Channel& channel = spec.channels[c];
    const Window window(channel, spec);
    (channel.is_mask ? of_mask : of_image)
        .push_back({window, channel.offset, out.place[c], channel.is_mask ? 0.0f : window.fill(),
                    static_cast<float>(channel.gain), static_cast<float>(channel.bias)});
  }
  const int64_t outputs = static_cast<int64_t>(planes.size()) * (spec.height + spec.width);
  const DeviceBuffer<Cut> cuts_on_device(cuts, stream);
  const DeviceBuffer<int64_t> first(outputs, stream), count(outputs, stream);
  const DeviceBuffer<double> weight(outputs * taps, stream);
  const Banks banks{taps, first.data(), count.data(), weight.data()};
  write_banks(cuts_on_device.data(), static_cast<int64_t>(planes.size()), spec.height, spec.width, banks, stream);
  sample_sources<std::false_type>(layout, images, planes, cuts_on_device.data(), banks, of_image, stream, out.data);
  sample_sources<std::true_type>(layout, masks, planes, cuts_on_device.data(), banks, of_mask, stream, out.data);
}

}  // namespace segae
