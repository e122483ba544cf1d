"""The discriminator (paper, "The Discriminative Model for Sequences").
B = batch, T = sequence length, V = vocabulary, E = embedding size, P = number of filters in all."""

import contextlib

import numpy as np

from dataloader import InputError, check_floats, check_numbers, check_tokens, pieces
from generator import Adam, Fixed

# isort: split
import tensorflow as tf

# On a GPU launching small kernels would take most of a step; on a CPU XLA takes a third longer.
COMPILED = bool(tf.config.list_physical_devices("GPU"))


class Discriminator(Fixed):
    """A CNN: convolutions of several widths, max over time, one highway layer, two logits.

    Args:
      sequence_length, vocab_size, embedding_dim: T, V and E.
      filter_sizes, num_filters: different widths of convolutions, 1 to T; filters of each width.
      dropout_keep_prob: share of the highway layer's outputs that dropout keeps; the attribute is
        a variable.
      l2_reg_lambda: weight of the penalty on the output layer; the attribute is a variable.
      learning_rate, seed: of Adam; of initial values and dropout.
    """

    def __init__(
        self, sequence_length, vocab_size, embedding_dim, filter_sizes, num_filters,
        dropout_keep_prob=0.75, l2_reg_lambda=0.2, learning_rate=1e-4, seed=0,
    ):  # fmt: skip
        check_numbers(1, 10**7, sequence_length=sequence_length, embedding_dim=embedding_dim)
        check_numbers(2, 10**7, vocab_size=vocab_size)
        sizes = check_tokens(filter_sizes, (None,), 10**7, "filter_sizes")
        check_tokens(num_filters, sizes.shape, 10**7, "num_filters")
        for size, number in zip(filter_sizes, num_filters):
            check_numbers(1, sequence_length, filter_sizes=size)
            check_numbers(1, 10**7, num_filters=number)
        if len(set(filter_sizes)) < len(filter_sizes):
            raise InputError(f"filter_sizes: expected different ones, found {filter_sizes}")
        check_numbers(1e-6, 1, whole=False, dropout_keep_prob=dropout_keep_prob)
        check_numbers(0, 1e30, whole=False, l2_reg_lambda=l2_reg_lambda)
        check_numbers(0, 1, whole=False, learning_rate=learning_rate)
        check_numbers(0, 2**64 - 1, seed=seed)

        self.sequence_length, self.vocab_size = sequence_length, vocab_size
        self.filter_sizes = tuple(filter_sizes)
        self.dropout_keep_prob = tf.Variable(float(dropout_keep_prob), dtype=tf.float32)
        self.l2_reg_lambda = tf.Variable(float(l2_reg_lambda), dtype=tf.float32)
        # The seed is the key of the random numbers.
        self.rng = tf.random.Generator.from_state([0, 0, seed], alg="philox")
        self.num_features = sum(num_filters)
        glorot = np.sqrt(3 / self.num_features)  # also of a bias: fan in = fan out = P

        def uniform(shape, limit):
            return self.rng.uniform(shape, -limit, limit)

        def truncated_normal(shape):
            return self.rng.truncated_normal(shape, stddev=0.1)

        values = {"embedding": uniform([vocab_size, embedding_dim], 1.0)}
        for f, n in zip(filter_sizes, num_filters):
            values[f"conv-maxpool-{f}/W"] = truncated_normal([f, embedding_dim, 1, n])
            values[f"conv-maxpool-{f}/b"] = tf.fill([n], 0.1)
        for branch in ("lin", "gate"):  # of the highway layer; [out, in] as in the authors' program
            values[f"highway_{branch}/Matrix"] = uniform(2 * [self.num_features], glorot)
            values[f"highway_{branch}/Bias"] = uniform([self.num_features], glorot)
        values["output/W"] = truncated_normal([self.num_features, 2])
        values["output/b"] = tf.fill([2], 0.1)
        self.weights = {name: tf.Variable(v) for name, v in values.items()}

        self.optimizer = Adam(self.weights, learning_rate)

    def state(self):
        """{name: tf.Variable} of all that a step or a user changes."""
        adam = {f"adam/{name}": variable for name, variable in self.optimizer.state().items()}
        set_by_user = {"dropout": self.dropout_keep_prob, "l2": self.l2_reg_lambda}
        return {**self.weights, **adam, **set_by_user, "random state": self.rng.state}

    def features(self, embedded):
        """ReLU of the largest response of every filter over time: [B, T, E] -> [B, P]."""
        largest, biases = [], []
        for f in self.filter_sizes:
            largest.append(convolve_and_max(embedded, self.weights[f"conv-maxpool-{f}/W"]))
            biases.append(self.weights[f"conv-maxpool-{f}/b"])
        # max commutes with the bias and with ReLU, so that both act on [B, P] alone.
        return tf.nn.relu(tf.concat(largest, 1) + tf.concat(biases, 0))

    def logits(self, embedded, kept=None):
        """[B, T, E] -> [B, 2], index 0 = generated, 1 = real. kept: outputs of the highway layer
        that dropout keeps, bool [B, P]; None: all."""
        w = self.weights
        features = self.features(embedded)
        lin = tf.matmul(features, w["highway_lin/Matrix"], transpose_b=True)
        gate = tf.matmul(features, w["highway_gate/Matrix"], transpose_b=True)
        t = tf.sigmoid(gate + w["highway_gate/Bias"])
        transformed = tf.nn.relu(lin + w["highway_lin/Bias"])
        out = t * transformed + (1 - t) * features
        if kept is not None:
            out = tf.where(kept, out * (1 / self.dropout_keep_prob), 0.0)
        return out @ w["output/W"] + w["output/b"]

    def prob_real(self, x):
        """Probability that each sequence is real, without dropout: x int [N, T] -> float32 [N]."""
        x = check_tokens(x, (None, self.sequence_length), self.vocab_size)
        # In pieces, for the memory: pieces of 128 take 1.1 times as long, larger ones as long.
        parts = [self._prob_real(piece) for piece in pieces(x, 512)]
        return tf.concat(parts, axis=0)

    @tf.function(jit_compile=COMPILED, reduce_retracing=True)
    def _prob_real(self, x):
        embedded = tf.gather(self.weights["embedding"], x)
        return tf.nn.softmax(self.logits(embedded))[:, 1]

    def train_steps(self, x, y):
        """A step of Adam for each of n batches: x int [n, B, T], labels y int [n, B], 1 = real.

        Returns the losses before each step, [n]: mean cross-entropy in nats (paper, eq. 5) plus
        l2_reg_lambda / 2 times the squares of the output layer's weights and biases, summed.
        """
        x = check_tokens(x, (None, None, self.sequence_length), self.vocab_size)
        y = check_tokens(y, x.shape[:2], 2, "y")
        # Drawn here and not where it is compiled, so that a CPU and a GPU draw the same.
        uniform = self.rng.uniform([*x.shape[:2], self.num_features])
        return self._train_steps(x, y, uniform < self.dropout_keep_prob)

    @tf.function(jit_compile=COMPILED, reduce_retracing=True)
    def _train_steps(self, x, y, kept):
        losses = tf.TensorArray(tf.float32, len(x))
        for n in tf.range(len(x)):
            loss, gradients = self.gradients(x[n], y[n], kept[n])
            self.optimizer.apply(gradients)
            losses = losses.write(n, loss)
        return losses.stack()

    def gradients(self, x, y, kept):
        """The loss of a step on x [B, T] and y [B], as in train_steps, and its gradients, in the
        order of weights; kept as in logits."""
        with tf.GradientTape() as tape:
            embedded = tf.gather(self.weights["embedding"], x)
            tape.watch(embedded)
            logits = self.logits(embedded, kept)
            entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            penalty = sum(tf.nn.l2_loss(self.weights[f"output/{name}"]) for name in "Wb")
            loss = tf.reduce_mean(entropy) + self.l2_reg_lambda * penalty
        others = list(self.weights.values())[1:]
        gradients = tape.gradient(loss, [embedded, *others])
        # A dense gradient of the embedding: Adam moves every row in any case.
        gradients[0] = tf.math.unsorted_segment_sum(gradients[0], x, self.vocab_size)
        return loss, gradients


def check_discriminator(discriminator, x):
    """Raise InputError unless a discriminator, perhaps your own, can be resumed.

    Two steps on x, int [N, T], are done twice, and state() is put back after each time. They must
    do the same again: on a CPU to the bit. A GPU does not repeat itself bit by bit; there a small
    thing that state() lacks may escape.
    """
    for name in ("prob_real", "train_steps", "state"):
        if not callable(getattr(discriminator, name, None)):
            raise InputError(f"discriminator: expected a method {name}(), found none")

    def prob_real():
        found = discriminator.prob_real(x)
        check_floats(found, [len(x)], "prob_real(x)")
        return np.array(found)

    before = prob_real()
    if before.min() < 0 or before.max() > 1:
        raise InputError(f"prob_real(x): expected probabilities, found {before}")
    start = values_of(discriminator.state())
    kinds = {(name, value.shape, value.dtype) for name, value in start.items()}
    y = np.arange(len(x)) % 2
    batches, labels = np.stack([x, x]), np.stack([y, 1 - y])

    lacks = "discriminator: its state() lacks something that a step changes"
    passes = []
    for _ in range(2):
        losses = check_floats(discriminator.train_steps(batches, labels), [2], "train_steps(x, y)")
        trained = prob_real()
        after = values_of(discriminator.state())
        late = kinds ^ {(name, value.shape, value.dtype) for name, value in after.items()}
        if late:
            names = sorted({name for name, _, _ in late})
            raise InputError(f"discriminator: a step makes these, or changes their kind: {names}")
        passes.append({"train_steps(x, y)": losses, "prob_real(x)": trained} | after)
        put_back(discriminator.state(), start)
        if not repeated(before, prob_real(), 0):
            raise InputError(f"{lacks}: when it is put back, prob_real(x) is not what it was")
    for name, first in passes[0].items():
        if not repeated(first, passes[1][name], start.get(name, 0)):
            raise InputError(f"{lacks}: when it is put back, the same steps give another {name}")


def values_of(state):
    """{name: array} of a state(), {name: variable}; InputError if one is no variable."""
    if not isinstance(state, dict):
        raise InputError("discriminator: expected state() to return {name: variable}")
    values = {}
    for name, variable in state.items():
        with named_in_errors(name):
            value = variable.numpy()
            if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind not in "biuf":
                raise TypeError(f"numpy() returns no array of numbers but {value!r:.50}")
            values[name] = np.array(value)  # a copy, as some return what they hold
    return values


def put_back(state, values):
    """Assign values, {name: array}, to a state(); InputError if a variable does not take it."""
    for name, variable in state.items():
        with named_in_errors(name):
            variable.assign(np.array(values[name]))  # a copy, as some hold what they are given
            if not np.array_equal(variable.numpy(), values[name], equal_nan=True):
                raise TypeError("numpy() is not what assign() was given")


@contextlib.contextmanager
def named_in_errors(name):
    """Raise InputError naming this variable of a state() where anything fails."""
    try:
        yield
    except Exception as error:  # of whatever library it is
        what = "expected numpy() and assign(array) of a variable"
        why = str(error).split("\n")[0] or repr(error)
        raise InputError(f"discriminator: state()[{name!r}]: {what}, found: {why}") from None


def repeated(first, second, start):
    """Whether two values that came from the same start are the same, as far as a device can."""
    if not tf.config.list_physical_devices("GPU"):
        return np.array_equal(first, second, equal_nan=True)
    # In float64, as differences of unsigned numbers would wrap around.
    change = np.subtract(first, start, dtype=np.float64)
    difference = np.subtract(second, first, dtype=np.float64)
    return np.linalg.norm(difference) <= 0.02 * np.linalg.norm(change)


@tf.custom_gradient
def convolve_and_max(e, w):
    """Largest value over time of a valid convolution: e [B, T, E], w [f, E, 1, n] -> [B, n].

    Positions that share the maximum share its gradient. Writing the windows out saves some 5 % of
    a training step on two cores: the gradient of tf.nn.conv1d is slow for wide filters.
    """
    f, emb, _, n = w.shape
    places = e.shape[1] - f + 1
    times = np.arange(places)[:, None] + np.arange(f)  # of each window
    windows = tf.gather(e, times, axis=1)
    windows = tf.reshape(windows, [-1, f * emb])
    responses = tf.matmul(windows, tf.reshape(w, [f * emb, n]))
    responses = tf.reshape(responses, [-1, places, n])
    largest = tf.reduce_max(responses, 1)

    def gradient(upstream):
        at = tf.cast(responses == largest[:, None], tf.float32)
        shared = upstream / tf.reduce_sum(at, 1)
        d = at * shared[:, None]
        de = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(e[:, None]),
            filter=tf.transpose(w, [2, 0, 1, 3]),
            out_backprop=d[:, None],
            strides=[1] * 4,
            padding="VALID",
        )
        d = tf.reshape(d, [-1, n])
        dw = tf.matmul(windows, d, transpose_a=True)
        return de[:, 0], tf.reshape(dw, w.shape)

    return largest, gradient
