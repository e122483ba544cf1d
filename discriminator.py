"""The discriminator: a CNN that tells real sequences from generated ones (paper, section 4.2).

B = batch, T = sequence length, E = embedding, P = number of features (filters of all sizes).
"""

import numpy as np
import tensorflow as tf

from dataloader import InputError, check_arrays


class Discriminator(tf.Module):
    """Convolutions of several widths, max over time, one highway layer, two logits.

    Args:
      sequence_length, vocab_size, embedding_dim: T, V, E.
      filter_sizes, num_filters: widths of the convolutions, at most T, and how many filters of each.
      dropout_keep_prob: of the highway layer's output, in training.
      l2_reg_lambda: weight of the penalty on the output layer.
      learning_rate: of Adam.
      seed: of initial values and dropout.
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
        self.sequence_length = sequence_length
        self.filter_sizes = tuple(filter_sizes)
        self.dropout_keep_prob = dropout_keep_prob
        self.l2_reg_lambda = l2_reg_lambda
        self.rng = tf.random.Generator.from_seed(seed, alg="philox")
        self.optimizer = tf.compat.v1.train.AdamOptimizer(learning_rate)
        p = sum(num_filters)

        def truncated_normal(*shape):
            return self.rng.truncated_normal(shape, stddev=0.1)

        def glorot_uniform(*shape):  # for a bias, too: fan in = fan out = P
            return self.rng.uniform(shape, -np.sqrt(3 / p), np.sqrt(3 / p))

        self.embedding = tf.Variable(self.rng.uniform([vocab_size, embedding_dim], -1, 1))
        self.filters = [
            tf.Variable(truncated_normal(f, embedding_dim, n))
            for f, n in zip(filter_sizes, num_filters)
        ]
        self.filter_biases = [tf.Variable(tf.fill([n], 0.1)) for n in num_filters]
        # The branches of the highway layer side by side: the ReLU's, then the gate's.
        self.highway = tf.Variable(tf.concat([glorot_uniform(p, p) for _ in range(2)], 1))
        self.highway_bias = tf.Variable(glorot_uniform(2 * p))
        self.output_kernel = tf.Variable(truncated_normal(p, 2))
        self.output_bias = tf.Variable(tf.fill([2], 0.1))

    @property
    def weights(self):
        filters = (w for pair in zip(self.filters, self.filter_biases) for w in pair)
        highway = self.highway, self.highway_bias
        return self.embedding, *filters, *highway, self.output_kernel, self.output_bias

    def param_shapes(self):
        """{name: shape} of the arrays in the order and form in which weights are exchanged."""
        p = self.output_kernel.shape[0]
        shapes = {"embedding": self.embedding.shape}
        for f, w in zip(self.filter_sizes, self.filters):
            shapes[f"conv-maxpool-{f}/W"] = (f, w.shape[1], 1, w.shape[2])
            shapes[f"conv-maxpool-{f}/b"] = (w.shape[2],)
        for branch in ("lin", "gate"):  # matrices as [out, in]
            shapes[f"highway_{branch}/Matrix"] = (p, p)
            shapes[f"highway_{branch}/Bias"] = (p,)
        return shapes | {"output/W": (p, 2), "output/b": (2,)}

    def get_params(self):
        """NumPy arrays in the order and of the shapes of param_shapes."""
        *params, highway, highway_bias, w_out, b_out = (w.numpy() for w in self.weights)
        lin, gate = np.split(highway.T, 2)
        lin_bias, gate_bias = np.split(highway_bias, 2)
        shapes = self.param_shapes().values()
        params = [*params, lin, lin_bias, gate, gate_bias, w_out, b_out]
        return [param.reshape(shape) for param, shape in zip(params, shapes)]

    def set_params(self, params):
        """Take arrays as get_params gives them; raises InputError (a ValueError) naming a misfit."""
        *params, lin, lin_bias, gate, gate_bias, w_out, b_out = check_arrays(
            params, self.param_shapes()
        )
        highway = np.concatenate([lin, gate]).T, np.concatenate([lin_bias, gate_bias])
        for weight, value in zip(self.weights, [*params, *highway, w_out, b_out]):
            weight.assign(value.reshape(weight.shape))

    def features(self, x):
        """Largest response of every filter over time: x int [B, T] -> [B, P]."""
        embedded = tf.gather(self.embedding, x)
        return tf.concat(
            [
                # max and ReLU commute, and so do max and the bias: both act on [B, n] alone.
                tf.nn.relu(tf.reduce_max(tf.nn.conv1d(embedded, w, 1, "VALID"), 1) + b)
                for w, b in zip(self.filters, self.filter_biases)
            ],
            1,
        )

    def logits(self, x, training):
        """x int [B, T] -> [B, 2], index 0 = generated, 1 = real."""
        p = self.features(x)
        lin, gate = tf.split(tf.matmul(p, self.highway) + self.highway_bias, 2, axis=1)
        t = tf.sigmoid(gate)
        p = t * tf.nn.relu(lin) + (1 - t) * p
        if training:
            kept = self.rng.uniform(tf.shape(p)) < self.dropout_keep_prob
            p = tf.where(kept, p / self.dropout_keep_prob, 0.0)
        return tf.matmul(p, self.output_kernel) + self.output_bias

    def prob_real(self, x):
        """Probability that each sequence is real, without dropout: x int [B, T] -> float32 [B]."""
        x = tf.convert_to_tensor(x, tf.int32)
        return tf.concat([self._prob_real(x[k : k + 512]) for k in range(0, len(x), 512)], 0)

    @tf.function(reduce_retracing=True)
    def _prob_real(self, x):
        return tf.nn.softmax(self.logits(x, training=False))[:, 1]

    def train_step(self, x, y):
        """One step of Adam on x, int [B, T], with labels y, int [B], 1 = real.

        Returns the loss before the step, in nats: mean cross-entropy, plus l2_reg_lambda times half
        the squared norm of the output layer.
        """
        return self._train_step(
            tf.convert_to_tensor(x, tf.int32), tf.convert_to_tensor(y, tf.int32)
        )

    @tf.function
    def _train_step(self, x, y):
        with tf.GradientTape() as tape:
            logits = self.logits(x, training=True)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
            ) + self.l2_reg_lambda * (
                tf.nn.l2_loss(self.output_kernel) + tf.nn.l2_loss(self.output_bias)
            )
        gradients = tape.gradient(loss, self.weights)
        self.optimizer.apply_gradients(zip(gradients, self.weights))
        return loss
