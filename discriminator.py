"""The discriminator: a CNN that tells real sequences from generated ones (paper, "The
Discriminative Model for Sequences").

B = batch, T = sequence length, E = embedding, P = number of features (filters of all sizes).
"""

import numpy as np
import tensorflow as tf

from dataloader import InputError, check_arrays, check_number, check_tokens


class Discriminator(tf.Module):
    """Convolutions of several widths, max over time, one highway layer, two logits.

    Args:
      sequence_length, vocab_size, embedding_dim: T, V, E.
      filter_sizes, num_filters: widths of the convolutions (at most T), filters of each width.
      dropout_keep_prob, l2_reg_lambda: of the highway layer's output, of the output layer.
      learning_rate, seed: Adam's, that of initial values and dropout.
    """

    def __init__(
        self,
        sequence_length,
        vocab_size,
        embedding_dim,
        filter_sizes,
        num_filters,
        dropout_keep_prob=0.75,
        l2_reg_lambda=0.2,
        learning_rate=1e-4,
        seed=0,
    ):
        super().__init__()
        for f, n in zip(filter_sizes, num_filters):
            check_number("filter_sizes, each number", f, 1, sequence_length)
            check_number("num_filters, each number", n, 1, 10**6)
        if not 0 < len(set(filter_sizes)) == len(filter_sizes) == len(num_filters):
            raise InputError(f"expected a number for each of {filter_sizes=}, found {num_filters}")
        check_number("dropout_keep_prob", dropout_keep_prob, 1e-6, 1, (int, float))
        check_number("seed", seed, 0, 2**64 - 1)
        self.shape, self.vocab_size = (None, sequence_length), vocab_size
        self.filter_sizes = tuple(filter_sizes)
        self.dropout_keep_prob, self.l2_reg_lambda = dropout_keep_prob, l2_reg_lambda
        self.rng = tf.random.Generator.from_state([0, 0, seed], alg="philox")  # seed is the key
        # TensorFlow 1's Adam: one fused kernel a variable saves 19 % of a step against Keras 3's.
        self.optimizer = tf.compat.v1.train.AdamOptimizer(learning_rate)
        p = sum(num_filters)  # features

        def truncated_normal(*shape):
            return self.rng.truncated_normal(shape, stddev=0.1)

        def glorot_uniform(*shape):  # for a bias, too: fan in = fan out = P
            return self.rng.uniform(shape, -np.sqrt(3 / p), np.sqrt(3 / p))

        values = {"embedding": self.rng.uniform([vocab_size, embedding_dim], -1, 1)}
        for f, n in zip(filter_sizes, num_filters):
            values[f"conv-maxpool-{f}/W"] = truncated_normal(f, embedding_dim, 1, n)
            values[f"conv-maxpool-{f}/b"] = tf.fill([n], 0.1)
        for branch in ("lin", "gate"):  # of the highway layer; matrices as [out, in]
            values[f"highway_{branch}/Matrix"] = glorot_uniform(p, p)
            values[f"highway_{branch}/Bias"] = glorot_uniform(p)
        values |= {"output/W": truncated_normal(p, 2), "output/b": tf.fill([2], 0.1)}
        self.params = {name: tf.Variable(value) for name, value in values.items()}
        self.optimizer._create_slots(list(self.params.values()))

    def get_params(self):
        """NumPy arrays, in the order and of the shapes in which weights are exchanged."""
        return [param.numpy() for param in self.params.values()]

    def set_params(self, params):
        """Take arrays as get_params gives them; raises InputError naming one that does not fit."""
        shapes = {name: param.shape for name, param in self.params.items()}
        for param, value in zip(self.params.values(), check_arrays(params, shapes)):
            param.assign(value)

    def features(self, x):
        """ReLU of the largest response of every filter over time: x int [B, T] -> [B, P]."""
        embedded = tf.gather(self.params["embedding"], x)
        names = [f"conv-maxpool-{f}" for f in self.filter_sizes]
        largest = [convolve_and_max(embedded, self.params[f"{name}/W"]) for name in names]
        # max commutes with the bias and with ReLU, so that both act on [B, P] alone.
        biases = [self.params[f"{name}/b"] for name in names]
        return tf.nn.relu(tf.concat(largest, 1) + tf.concat(biases, 0))

    def logits(self, x, training):
        """x int [B, T] -> [B, 2], index 0 = generated, 1 = real."""
        p = self.features(x)
        w = self.params
        lin = linear(p, w["highway_lin/Matrix"]) + w["highway_lin/Bias"]
        gate = linear(p, w["highway_gate/Matrix"]) + w["highway_gate/Bias"]
        t = tf.sigmoid(gate)
        p = t * tf.nn.relu(lin) + (1 - t) * p
        if training:
            kept = self.rng.uniform(tf.shape(p)) < self.dropout_keep_prob
            p = tf.where(kept, p / self.dropout_keep_prob, 0.0)
        return tf.matmul(p, w["output/W"]) + w["output/b"]

    def prob_real(self, x):
        """Probability that each sequence is real, without dropout: x int [B, T] -> float32 [B]."""
        x = check_tokens(x, self.shape, self.vocab_size)
        # In pieces, for the memory: 128 at once take 1.2 times as long, 1,024 no less.
        return tf.concat([self._prob_real(x[k : k + 512]) for k in range(0, len(x), 512)], 0)

    @tf.function(reduce_retracing=True)
    def _prob_real(self, x):
        return tf.nn.softmax(self.logits(x, training=False))[:, 1]

    def train_step(self, x, y):
        """One step of Adam on x, int [B, T], with labels y, int [B], 1 = real; the loss before it,
        mean cross-entropy in nats and l2_reg_lambda / 2 times the squared output weights."""
        x = check_tokens(x, self.shape, self.vocab_size)
        return self._train_step(x, check_tokens(y, (len(x),), 2, "y"))

    @tf.function
    def _train_step(self, x, y):
        loss, gradients = self.gradients(x, y)
        self.optimizer.apply_gradients(zip(gradients, self.params.values()))
        return loss

    def gradients(self, x, y):
        """The training loss, with dropout, and its gradients, in the order of params."""
        with tf.GradientTape() as tape:
            entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(y, self.logits(x, True))
            penalty = sum(tf.nn.l2_loss(self.params[f"output/{name}"]) for name in "Wb")
            loss = tf.reduce_mean(entropy) + self.l2_reg_lambda * penalty
        return loss, tape.gradient(loss, list(self.params.values()))


# --------------------------------------------------------------------------------------------------
# The same mathematics, arranged for the machine.


@tf.custom_gradient
def linear(x, w):
    """x [B, n] times the transpose of w [m, n] -> [B, m]."""

    def gradient(upstream):
        dx = tf.matmul(upstream, w)
        # Adam copies a variable while a read of it is under way. That the gradient by which w is
        # updated waits for the last reader of w saves 5 to 8 % of a training step.
        with tf.control_dependencies([dx]):
            return dx, tf.matmul(upstream, x, transpose_a=True)

    return tf.matmul(x, w, transpose_b=True), gradient


@tf.custom_gradient
def convolve_and_max(e, w):
    """Largest value over time of a valid convolution: e [B, T, E], w [f, E, 1, n] -> [B, n].

    Positions that share the maximum share its gradient. Writing the windows out for both products
    saves 9 % of a training step: the gradient of tf.nn.conv1d is slow for wide filters.
    """
    f, emb, _, n = w.shape
    places = e.shape[1] - f + 1
    windows = tf.gather(e, np.arange(places)[:, None] + np.arange(f), axis=1)
    windows = tf.reshape(windows, [-1, f * emb])
    responses = tf.reshape(tf.matmul(windows, tf.reshape(w, [f * emb, n])), [-1, places, n])
    largest = tf.reduce_max(responses, 1)

    def gradient(upstream):
        at = tf.cast(responses == largest[:, None], tf.float32)
        d = at * (upstream / tf.reduce_sum(at, 1))[:, None]
        de = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(e[:, None]),
            filter=tf.transpose(w, [2, 0, 1, 3]),
            out_backprop=d[:, None],
            strides=[1] * 4,
            padding="VALID",
        )
        dw = tf.matmul(windows, tf.reshape(d, [-1, n]), transpose_a=True)
        return de[:, 0], tf.reshape(dw, w.shape)

    return largest, gradient
