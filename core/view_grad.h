// Views and in-place writes on the tape. A write to a view changes what its base was computed from: the base's history
// becomes "its old history with the view's region replaced", and each view of it is again a region of the base.
#pragma once

#include "small_vector.h"
#include "tape.h"

namespace dg {

// If the view's base was written through another view since, gives the view its new place on the tape.
void refresh_view_slow(TensorObject* view);
inline void refresh_view(TensorObject* view) {
  if (view->view_version != view->buffer->version.load(std::memory_order_relaxed)) refresh_view_slow(view);
}

// As if the view's memory was written: its next use gives it its place on the tape.
inline void fall_behind(TensorObject* view) {
  if (view->base && view->buffer) --view->view_version;
}

// After an in-place operator on a view: `write` (one reference taken over) computed the view's new values.
void rebase_view(TensorObject* view, Node* write);

// Gradients of the two node kinds.
void view_gradients(Node* node, TensorObject* grad, bool recorded, SmallVector<TensorObject*, 4>* results);

// Their outputs' tangents.
void view_tangents(Node* node, TensorObject* const* tangents, bool create_graph,
                   SmallVector<TensorObject*, 4>* results);

// Whether some element is, or may be, shown at several places.
bool overlaps_itself_now(const TensorObject* tensor);

}  // namespace dg
