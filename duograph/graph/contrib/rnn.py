"""`tf.contrib.rnn`: the cells of `tf.nn.rnn_cell`, and the networks that hold each step."""

from ..nn.rnn import static_bidirectional_rnn as static_bidirectional_rnn
from ..nn.rnn import static_rnn as static_rnn
from ..nn.rnn_cell import *
from ..nn.rnn_cell import BasicLSTMCell as BasicLSTMCell
