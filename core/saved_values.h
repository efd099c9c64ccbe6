// What a node of the tape saved, as the values it was computed from.
#pragma once

#include <string>

#include "tape.h"

namespace dg {

// The name of a flattened operand, for messages.
std::string operand_name(const Node* node, uint32_t index);
[[noreturn]] void raise_overwritten(const Node* node, const std::string& what, const std::string& versions);
// Raises GradError if a saved tensor (`what` in the message) was overwritten since.
void check_version(const Node* node, const Saved& saved, const std::string& what);
// `tensor` was given other elements (x.data = other): nodes that saved it read these, as in PyTorch.
void note_other_data(TensorObject* tensor);
// What the node saved of such tensors, as they are now.
void take_other_data(Node* node);
// A saved tensor as a Tensor again, at its place on the tape if `edge` says so. A value that was not saved is a
// stand-in of the right shape, which the rule does not look at where it matters.
Ref restore(const Node* node, const Saved& saved, const Edge* edge, bool linked, uint32_t index);
// The bound arguments of a compiled node, in parameter order.
Ref restore_arguments(const Node* node, bool linked);
// A traced node's arguments with their places on the tape restored, for create_graph; `args` differ from those that it
// keeps where something stands in.
Ref link_arguments(Node* node, PyObject* args);

}  // namespace dg
