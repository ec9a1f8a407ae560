// The wheel that carries TVM 0.19's sources has the headers of include/tvm/runtime alone, and one of these,
// metadata.h, includes this file. Written from its uses in the runtime: a view of the elements of an array.
#ifndef TVM_SUPPORT_SPAN_H_
#define TVM_SUPPORT_SPAN_H_

#include <cstddef>
#include <type_traits>
#include <vector>

namespace tvm {
namespace support {

/*! \brief A view of elements of type T, which are read as values of type W. */
template <class T, class W>
class Span {
  static_assert(std::is_same<typename std::remove_const<T>::type, W>::value,
                "elements are read as what they are; the compiler's own wrappers need TVM's complete headers");

 public:
  using value_type = W;
  using iterator = T*;
  using const_iterator = const W*;

  Span(T* begin, T* end) : begin_(begin), end_(end) {}
  Span(T* begin, std::size_t size) : begin_(begin), end_(begin + size) {}

  iterator begin() const { return begin_; }
  iterator end() const { return end_; }
  std::size_t size() const { return static_cast<std::size_t>(end_ - begin_); }
  T& operator[](std::size_t index) const { return begin_[index]; }
  operator std::vector<W>() const { return std::vector<W>(begin_, end_); }

 private:
  T* begin_;
  T* end_;
};

}  // namespace support
}  // namespace tvm

#endif  // TVM_SUPPORT_SPAN_H_
