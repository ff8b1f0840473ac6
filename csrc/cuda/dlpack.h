// The part of DLPack's C ABI that segae reads: tensors lent in capsules named "dltensor".
//
// Written from the specification (https://dmlc.github.io/dlpack/latest/c_api.html, python_spec.html): a producer's
// __dlpack__(stream=s) orders its own work before what is queued on `s` and returns a capsule; who takes the tensor
// renames the capsule to "used_dltensor" and calls the deleter once.
#pragma once

#include <cstdint>

namespace segae::dlpack {

enum DeviceType : int32_t { kCpu = 1, kCuda = 2 };
enum TypeCode : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBool = 6 };

struct Device {
  int32_t type;
  int32_t id;
};

struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; nullptr: C-contiguous
  uint64_t byte_offset;
};

struct ManagedTensor {
  Tensor tensor;
  void* manager;
  void (*deleter)(ManagedTensor*);  // nullptr: nothing to give back
};

inline constexpr const char* kCapsule = "dltensor";
inline constexpr const char* kUsedCapsule = "used_dltensor";

}  // namespace segae::dlpack
