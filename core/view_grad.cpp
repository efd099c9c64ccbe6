#include "view_grad.h"

namespace dg {

void refresh_view_slow(TensorObject* view) {
  view->view_version = view->buffer->version.load(std::memory_order_relaxed);
}

void rebase_view(TensorObject* view, Node* write, uint32_t) {
  (void)view;
  release_node(write);
  raise_error_hint("GradError", "write to the whole tensor, or build the result with where, cat or stack",
                   "%s: writing to a view of a tensor that takes part in differentiation", node_name(write));
}

void view_gradients(Node* node, TensorObject*, bool, SmallVector<TensorObject*, 4>*) {
  raise_error("InternalError", "%s: no gradient", node_name(node));
}

}  // namespace dg
