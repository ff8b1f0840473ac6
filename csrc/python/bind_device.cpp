// DeviceArray for Python: taken from a DLPack capsule, seen along other axes. Needs no CUDA.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <vector>

#include "cuda/device_array.h"
#include "python/arrays.h"

namespace segae {

namespace {

DType dtype_of(const dlpack::DataType& type) {
  if (type.lanes == 1) {
    const int bits = type.bits;
    if (type.code == dlpack::kBool && bits == 8) return DType::kBool;
    if (type.code == dlpack::kUInt && bits == 8) return DType::kU8;
    if (type.code == dlpack::kInt && bits == 8) return DType::kI8;
    if (type.code == dlpack::kUInt && bits == 16) return DType::kU16;
    if (type.code == dlpack::kInt && bits == 16) return DType::kI16;
    if (type.code == dlpack::kUInt && bits == 32) return DType::kU32;
    if (type.code == dlpack::kInt && bits == 32) return DType::kI32;
    if (type.code == dlpack::kUInt && bits == 64) return DType::kU64;
    if (type.code == dlpack::kInt && bits == 64) return DType::kI64;
    if (type.code == dlpack::kFloat && bits == 16) return DType::kF16;
    if (type.code == dlpack::kFloat && bits == 32) return DType::kF32;
    if (type.code == dlpack::kFloat && bits == 64) return DType::kF64;
  }
  throw py::type_error("unsupported DLPack type: code " + std::to_string(type.code) + ", " + std::to_string(type.bits) +
                       " bits, " + std::to_string(type.lanes) + " lanes; expected bool, integers or floats");
}

// The volumes that a DLPack capsule holds: one of three axes, or as many of four as the first axis is long.
std::vector<DeviceArray> take_volumes(const py::capsule& capsule, uint64_t stream, int axes) {
  if (std::string(capsule.name() ? capsule.name() : "") != dlpack::kCapsule) {
    throw py::value_error("expected a capsule of __dlpack__() that nobody has taken");
  }
  auto* managed = capsule.get_pointer<dlpack::ManagedTensor>();
  const dlpack::Tensor& tensor = managed->tensor;
  if (tensor.ndim != axes) {
    throw py::value_error("expected " + std::to_string(axes) + " axes, got " + std::to_string(tensor.ndim));
  }
  if (tensor.device.type != dlpack::kCpu && tensor.device.type != dlpack::kCuda) {
    throw py::value_error("expected CPU (1) or CUDA (2) memory, got DLPack device type " +
                          std::to_string(tensor.device.type));
  }
  const int64_t item = (tensor.dtype.bits + 7) / 8;
  std::vector<int64_t> stride(static_cast<size_t>(axes));
  int64_t compact = item;
  for (size_t axis = stride.size(); axis-- > 0;) {
    stride[axis] = tensor.strides ? tensor.strides[axis] * item : compact;
    compact *= tensor.shape[axis];
  }
  const size_t batch = stride.size() - 3;  // axes before those of a volume
  const std::byte* first = static_cast<const std::byte*>(tensor.data) + tensor.byte_offset;
  const VolumeView view{first,
                        dtype_of(tensor.dtype),
                        {tensor.shape[batch], tensor.shape[batch + 1], tensor.shape[batch + 2]},
                        {stride[batch], stride[batch + 1], stride[batch + 2]}};
  // From here on the tensor is ours to give back.
  PyCapsule_SetName(capsule.ptr(), dlpack::kUsedCapsule);
  const std::shared_ptr<void> owner(managed, [](dlpack::ManagedTensor* lent) {
    if (lent->deleter) lent->deleter(lent);
  });
  const Stream place{static_cast<int>(tensor.device.id), stream};
  std::vector<DeviceArray> volumes(batch == 0 ? 1 : static_cast<size_t>(tensor.shape[0]),
                                   {view, static_cast<dlpack::DeviceType>(tensor.device.type), place, owner});
  for (size_t i = 0; i < volumes.size() && batch > 0; ++i) {
    volumes[i].view.data = first + static_cast<int64_t>(i) * stride[0];
  }
  return volumes;
}

DeviceArray take_dlpack(const py::capsule& capsule, uint64_t stream) { return take_volumes(capsule, stream, 3)[0]; }

std::vector<DeviceArray> take_dlpack_batch(const py::capsule& capsule, uint64_t stream) {
  return take_volumes(capsule, stream, 4);
}

DeviceArray transpose(const DeviceArray& array, const std::array<int, 3>& order) {
  DeviceArray turned = array;
  int seen = 0;
  for (size_t axis = 0; axis < 3; ++axis) {
    check_axis(order[axis]);
    seen |= 1 << order[axis];
    turned.view.shape[axis] = array.view.shape[static_cast<size_t>(order[axis])];
    turned.view.stride[axis] = array.view.stride[static_cast<size_t>(order[axis])];
  }
  if (seen != 7) throw py::value_error("order: expected each of the axes 0, 1 and 2 once");
  return turned;
}

DeviceArray flip_axes(const DeviceArray& array, const std::array<bool, 3>& flipped) {
  DeviceArray turned = array;
  for (size_t axis = 0; axis < 3; ++axis) {
    if (!flipped[axis]) continue;
    turned.view.data += (array.view.shape[axis] - 1) * array.view.stride[axis];
    turned.view.stride[axis] = -array.view.stride[axis];
  }
  return turned;
}

// Every step-th voxel along each axis, from the first on.
DeviceArray thin(const DeviceArray& array, const Int3& step) {
  DeviceArray thinned = array;
  for (size_t axis = 0; axis < 3; ++axis) {
    if (step[axis] < 1) throw py::value_error("step: expected positive numbers");
    thinned.view.shape[axis] = (array.view.shape[axis] + step[axis] - 1) / step[axis];
    thinned.view.stride[axis] = array.view.stride[axis] * step[axis];
  }
  return thinned;
}

}  // namespace

void register_device_array(py::module_& m) {
  py::class_<DeviceArray>(m, "DeviceArray")
      .def_property_readonly("shape", [](const DeviceArray& array) { return py::tuple(py::cast(array.view.shape)); })
      .def_property_readonly("strides", [](const DeviceArray& array) { return py::tuple(py::cast(array.view.stride)); })
      .def_property_readonly("dtype", [](const DeviceArray& array) { return dtype_name(array.view.dtype); })
      .def_property_readonly("device",
                             [](const DeviceArray& array) {
                               return py::make_tuple(static_cast<int>(array.device_type), array.stream.device);
                             })
      .def_property_readonly("stream", [](const DeviceArray& array) { return array.stream.handle; })
      .def("thin", &thin, py::arg("step"))
      .def("transpose", &transpose, py::arg("order"))
      .def("flip", &flip_axes, py::arg("flipped"));
  m.def("take_dlpack", &take_dlpack, py::arg("capsule"), py::arg("stream"));
  m.def("take_dlpack_batch", &take_dlpack_batch, py::arg("capsule"), py::arg("stream"));
}

}  // namespace segae
