// Calls a kernel as one thread. python/compiler.py ends every source with such a call for each
// kernel in it.
#pragma once
#include <type_traits>
#include <utility>

namespace emulated {

template <class... A, size_t... I>
__attribute__((no_sanitize("thread")))
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
  kernel(*(std::decay_t<A>*)arguments[I]...);
}

template <class... A>
__attribute__((no_sanitize("thread")))
void call(void (*kernel)(A...), void** arguments) {
  call(kernel, arguments, std::index_sequence_for<A...>{});
}

}
