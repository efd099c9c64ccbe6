// Which nodes of the tape take part in a backward pass, and how often a gradient will arrive at each.

#include <algorithm>

#include "backward_pass.h"
#include "mode.h"

namespace dg {

// What nodes are marked with that were visited; those never visited have 0.
uint32_t BackwardPass::new_id() {
  static uint32_t last = 0;
  if (++last == 0) ++last;
  return last;
}

uint32_t BackwardPass::state_of(Node* node) {
  if (use_maps_) {
    auto [found, fresh] = node_map_.try_emplace(node, static_cast<uint32_t>(states_.size()));
    if (!fresh) return found->second;
  } else {
    if (node->run == id_) return node->state;
    node->run = id_;
    node->state = static_cast<uint32_t>(states_.size());
  }
  if (node->kind == NodeKind::Python && node->extra->paths) joint_.push_back(node);
  retain_node(node);
  states_.push_back({node, static_cast<uint32_t>(slots_.size()), 0, true});
  slots_.resize(slots_.size() + node->n_outputs, nullptr);
  return static_cast<uint32_t>(states_.size() - 1);
}

uint32_t BackwardPass::leaf_of(TensorObject* leaf) {
  if (use_maps_) {
    auto [found, fresh] = leaf_map_.try_emplace(leaf, static_cast<uint32_t>(leaves_.size()));
    if (!fresh) return found->second;
  } else {
    if (leaf->leaf_run == id_) return leaf->leaf_state;
    leaf->leaf_run = id_;
    leaf->leaf_state = static_cast<uint32_t>(leaves_.size());
  }
  Py_INCREF(as_object(leaf));
  leaves_.push_back({leaf, Ref(), true, 0});
  return static_cast<uint32_t>(leaves_.size() - 1);
}

void BackwardPass::discover() {
  for (const Root& root : roots_)
    if (root.edge.node) state_of(root.edge.node);
  // `states_` grows while it is walked: a breadth-first search without a queue of its own.
  for (size_t i = 0; i < states_.size(); ++i) {
    Node* node = states_[i].node;
    for (uint32_t e = 0; e < node->n_edges; ++e) {
      const Edge& edge = at(node->edges[e]);
      if (edge.node) state_of(edge.node);
      if (edge.leaf) leaf_of(edge.leaf);
    }
  }
  for (const Root& root : roots_)
    if (root.edge.leaf) leaf_of(root.edge.leaf);
}

// Whether the pass needs the gradient of one of the node's results where it is more than what arrives for it.
bool BackwardPass::asks(const Node* node) {
  std::vector<char> asked(node->n_outputs), arrives(node->n_outputs);
  for (const Capture& capture : captures_)
    if (capture.node == node) asked[capture.index] = 1;
  for (auto& [index, callable] : node->extra->hooks)
    if (index < node->n_outputs) asked[index] = 1;
  for (const Retained& entry : node->extra->retained) asked[entry.index] = 1;
  if (std::none_of(asked.begin(), asked.end(), [](char one) { return one; })) return false;
  for (const Root& root : roots_)
    if (root.edge.node == node) arrives[root.edge.index] = 1;
  for (const NodeState& state : states_)
    for (uint32_t e = 0; e < state.node->n_edges; ++e)
      if (const Edge& edge = at(state.node->edges[e]); edge.node == node) arrives[edge.index] = 1;
  return std::any_of(node->extra->paths->begin(), node->extra->paths->end(),
                     [&](const auto& path) { return asked[path.first] && arrives[path.second]; });
}

// Where `asks`, the operators that a node stands for take its place. The pass is to be started anew if there were any.
bool BackwardPass::take_apart() {
  std::vector<Node*> found;
  for (Node* node : joint_)
    if (asks(node)) found.push_back(node);
  if (found.empty()) return false;
  if (mode.tracing)
    raise_node_error("GradError", found[0],
                     "call both static functions under dg.dynamic_mode(), or differentiate outside",
                     "%s: inside of another static function, the gradient of one of its results through another is not "
                     "known",
                     node_name(found[0]));
  for (Node* node : found)
    if (!node->extra->expanded) node->extra->take_apart(node);
  expansions_ = expansions();
  for (Root& root : roots_) root.edge = at(root.edge);
  for (Capture& capture : captures_) {
    const Edge edge{capture.node, capture.leaf, capture.index};
    const Edge& now = at(edge);
    capture.node = now.node;
    capture.leaf = now.leaf;
    capture.index = now.index;
  }
  for (NodeState& state : states_) release_node(state.node);
  for (LeafState& state : leaves_) Py_DECREF(as_object(state.leaf));
  states_.clear();
  leaves_.clear();
  slots_.clear();
  joint_.clear();
  node_map_.clear();
  leaf_map_.clear();
  id_ = new_id();
  return true;
}

// With chosen inputs, only the nodes on a way to them run. A node is recorded after what it depends on, so by
// increasing sequence each node's inputs are decided before it.
void BackwardPass::choose_needed() {
  for (LeafState& leaf : leaves_) leaf.wanted = false;
  for (NodeState& state : states_) state.needed = false;
  std::vector<char> captured(slots_.size(), 0);
  auto known = [&](Node* node) { return use_maps_ ? node_map_.count(node) > 0 : node->run == id_; };
  auto known_leaf = [&](TensorObject* leaf) { return use_maps_ ? leaf_map_.count(leaf) > 0 : leaf->leaf_run == id_; };
  for (const Capture& capture : captures_) {
    if (capture.node && known(capture.node)) captured[states_[state_of(capture.node)].slots + capture.index] = 1;
    if (capture.leaf && known_leaf(capture.leaf)) leaves_[leaf_of(capture.leaf)].wanted = true;
  }
  std::vector<uint32_t> order(states_.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return states_[a].node->sequence < states_[b].node->sequence; });
  for (uint32_t i : order) {
    Node* node = states_[i].node;
    bool needed = false;
    for (uint32_t e = 0; e < node->n_edges && !needed; ++e) {
      const Edge& edge = at(node->edges[e]);
      if (edge.leaf) needed = leaves_[leaf_of(edge.leaf)].wanted;
      if (edge.node) {
        const NodeState& input = states_[state_of(edge.node)];
        needed = input.needed || captured[input.slots + edge.index];
      }
    }
    states_[i].needed = needed;
  }
}

void BackwardPass::count_dependencies() {
  for (const NodeState& state : states_) {
    if (!state.needed) continue;
    for (uint32_t e = 0; e < state.node->n_edges; ++e) {
      const Edge& edge = at(state.node->edges[e]);
      if (edge.node) ++states_[state_of(edge.node)].dependencies;
      if (edge.leaf) ++leaves_[leaf_of(edge.leaf)].dependencies;
    }
  }
}

}  // namespace dg
