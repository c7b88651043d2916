// Memory of the kernels. In the namespace of the instruction set: see rules.hpp.
#pragma once

#include <algorithm>
#include <memory>
#include <new>

namespace patchmosaic::PATCHMOSAIC_ISA {

template <class T>
class Buffer {  // aligned and zeroed
  public:
    explicit Buffer(size_t count = 0) : data_(count ? new (std::align_val_t(64)) T[count] : nullptr) { std::fill_n(data_.get(), count, T(0)); }
    operator T*() { return data_.get(); }
    operator const T*() const { return data_.get(); }

  private:
    struct Free {
        void operator()(T* p) const { ::operator delete[](p, std::align_val_t(64)); }
    };
    std::unique_ptr<T[], Free> data_;
};

}  // namespace patchmosaic::PATCHMOSAIC_ISA
