"""The LSTM language model, and the generator (paper, "The Generative Model for Sequences").
B = batch, N = any number, T = sequence length, V = vocabulary, E = embedding, H = hidden size."""

import numpy as np
import tensorflow as tf

import dataloader
from dataloader import InputError, check_arrays, check_tokens

LOG_FLOOR = float(np.log(1e-20))  # in training, probabilities below 1e-20 count as 1e-20


def param_shapes(vocab_size, emb_dim, hidden_dim):
    """{name: shape} of the 15 arrays of an LSTM, in the order in which weights are exchanged."""
    shapes = {"embeddings": (vocab_size, emb_dim)}
    for gate in ("i", "f", "o", "c"):
        shapes[f"W{gate}"] = (emb_dim, hidden_dim)
        shapes[f"U{gate}"] = (hidden_dim, hidden_dim)
        shapes[f"b{gate}"] = (hidden_dim,)
    return shapes | {"W_out": (hidden_dim, vocab_size), "b_out": (vocab_size,)}


class LSTM(tf.Module):
    """Language model over token sequences: oracle, generator and rollout policy are each one.

    Args:
      params: 15 float arrays as in param_shapes; InputError names one that does not fit.
      sequence_length, start_token: T; the input before the first token of a sequence.
      seed: of sampling, 0 to 2**64 - 1.
    """

    def __init__(self, params, sequence_length, start_token=0, seed=0):
        super().__init__()
        embeddings, w_out = params[0], params[-2]
        if np.ndim(embeddings) != 2 or np.ndim(w_out) != 2:
            raise InputError("expected 15 arrays as in param_shapes, found matrices missing")
        self.vocab_size, self.emb_dim = np.shape(embeddings)
        self.hidden_dim = len(w_out)
        self.shapes = param_shapes(self.vocab_size, self.emb_dim, self.hidden_dim)
        params = check_arrays(params, self.shapes)
        self.sequence_length, self.start_token = sequence_length, start_token
        self.input_shape = (None, sequence_length)
        self.rng = tf.random.Generator.from_state([0, 0, seed], alg="philox")  # seed is the key
        self.weights = {name: tf.Variable(p) for name, p in zip(self.shapes, params)}

    def get_params(self):
        """The 15 NumPy arrays, in the order of param_shapes."""
        return [weight.numpy() for weight in self.weights.values()]

    def set_params(self, params):
        """Take 15 arrays; raises InputError naming the one that does not fit."""
        for weight, array in zip(self.weights.values(), check_arrays(params, self.shapes)):
            weight.assign(array)

    def step(self, state, x):
        """One step (paper, eq. 9): state (h, c), [N, H] each, embedded tokens x [N, E] -> state."""
        h, c = state
        w = self.weights
        i = tf.sigmoid(x @ w["Wi"] + h @ w["Ui"] + w["bi"])  # input gate
        f = tf.sigmoid(x @ w["Wf"] + h @ w["Uf"] + w["bf"])  # forget gate
        o = tf.sigmoid(x @ w["Wo"] + h @ w["Uo"] + w["bo"])  # output gate
        g = tf.tanh(x @ w["Wc"] + h @ w["Uc"] + w["bc"])  # candidate

        c = f * c + i * g
        h = o * tf.tanh(c)
        return h, c

    def log_prob(self, x):
        """log p(token | prefix) of every token of x, int [N, T]; float32 [N, T], in nats."""
        parts = dataloader.pieces(check_tokens(x, self.input_shape, self.vocab_size), 128)
        return tf.concat([self._log_prob(x) for x in parts], axis=0)

    def nll(self, x, end=None):
        """Mean -log p(token | prefix) of x, int [N, T], to its first `end`, in nats per token."""
        log_prob = self.log_prob(x).numpy()
        counts = np.arange(self.sequence_length) <= dataloader.lengths(x, end)[:, None]
        return -float(np.mean(log_prob[counts], dtype=np.float64))

    def inputs(self, x):
        """What the LSTM is fed to predict x [B, T]: the start token, then x but for its last."""
        start = tf.fill([len(x), 1], self.start_token)
        return tf.concat([start, x[:, :-1]], axis=1)

    @tf.function(jit_compile=True)
    def _log_prob(self, x):
        return self.log_prob_given(tf.gather(self.weights["embeddings"], self.inputs(x)), x)

    def log_prob_given(self, embedded, x):
        """log p(token | prefix) of x [B, T], [B, T], given its embedded inputs."""
        zeros = tf.zeros([len(x), self.hidden_dim])
        embedded = tf.transpose(embedded, [1, 0, 2])
        h, _ = tf.scan(self.step, embedded, (zeros, zeros))
        h = tf.reshape(tf.transpose(h, [1, 0, 2]), [-1, self.hidden_dim])
        logits = h @ self.weights["W_out"] + self.weights["b_out"]
        log_probs = tf.nn.log_softmax(logits)
        log_prob = tf.gather(log_probs, tf.reshape(x, [-1]), batch_dims=1)
        return tf.reshape(log_prob, x.shape)

    def sample(self, num, prefix=(), temperature=1.0):
        """Draw sequences that begin with the tokens of prefix; int32 [num, T]."""
        dataloader.check_number("num", num, 1, 10**7)
        dataloader.check_number("length of the prefix", len(prefix), 0, self.sequence_length)
        x = np.zeros([num, self.sequence_length], np.int32)
        if len(prefix):
            x[:, : len(prefix)] = check_tokens(prefix, (None,), self.vocab_size, "prefix")
        return self.complete(x, len(prefix), temperature)

    def complete(self, x, given, temperature=1.0):
        """Keep the first `given` tokens of each row of x, int32 [N, T], and draw those after from
        softmax(logits / temperature) (paper, eq. 10)."""
        uniform = self.rng.uniform([len(x), self.sequence_length, 2])
        given, temperature = tf.constant(given), tf.constant(temperature, tf.float32)
        # 1,664 rows at once: with 208 a draw takes twice as long.
        parts = zip(dataloader.pieces(x, 1664), dataloader.pieces(uniform, 1664))
        return tf.concat([self._complete(*part, given, temperature) for part in parts], axis=0)

    @tf.function(jit_compile=True)  # saves two fifths of a draw's time
    def _complete(self, x, uniform, given, temperature):
        w = output_blocks(self.weights["W_out"], self.weights["b_out"]) / temperature
        embeddings = self.weights["embeddings"]
        zeros = tf.zeros([len(x), self.hidden_dim])
        start = tf.fill([len(x)], self.start_token)
        x, uniform = tf.transpose(x), tf.transpose(uniform, [1, 0, 2])
        state = self.step((zeros, zeros), tf.gather(embeddings, start))

        t = 0  # with loops over tf.range it would be compiled anew for each `given`
        while t < given:
            state = self.step(state, tf.gather(embeddings, x[t]))
            t += 1
        while t < self.sequence_length:
            token = draw(state[0], w, uniform[t])
            token = tf.minimum(token, self.vocab_size - 1)  # where logits are NaN
            x = tf.tensor_scatter_nd_update(x, [[t]], token[None])
            state = self.step(state, tf.gather(embeddings, token))
            t += 1
        return tf.transpose(x)


class Generator(LSTM):
    """The generator G: an LSTM with its two updates, each with Adam moments of its own.

    Args:
      vocab_size, emb_dim, hidden_dim, sequence_length, start_token: V, E, H, T; as in LSTM.
      learning_rate, grad_clip: of Adam; the global norm to which gradients are clipped.
      seed: of initial values, all Normal(0, 0.1), and of sampling.
    """

    def __init__(
        self, vocab_size, emb_dim, hidden_dim, sequence_length, start_token=0,
        learning_rate=0.01, grad_clip=5.0, seed=0,
    ):  # fmt: skip
        rng = np.random.default_rng(seed)
        shapes = param_shapes(vocab_size, emb_dim, hidden_dim).values()
        params = [np.float32(0.1) * rng.standard_normal(shape, np.float32) for shape in shapes]
        super().__init__(params, sequence_length, start_token, seed)
        self.grad_clip = grad_clip
        self.pretrain_optimizer = tf.compat.v1.train.AdamOptimizer(learning_rate)
        self.reinforce_optimizer = tf.compat.v1.train.AdamOptimizer(learning_rate)
        for optimizer in (self.pretrain_optimizer, self.reinforce_optimizer):
            optimizer._create_slots(list(self.weights.values()))  # before a tf.function needs them

    def pretrain_step(self, x):
        """One step of maximum likelihood on x, int [B, T]; the mean NLL before it, per token."""
        x = check_tokens(x, self.input_shape, self.vocab_size)
        weight = np.full(x.shape, 1 / x.size, np.float32)
        return self._update(x, weight, self.pretrain_optimizer)

    def reinforce_step(self, x, rewards):
        """One policy-gradient step (paper, eq. 6-8) on x, int [B, T], with rewards, float [B, T];
        the loss before it, the sum over B and T of -reward * log p(token | prefix)."""
        x = check_tokens(x, self.input_shape, self.vocab_size)
        (rewards,) = check_arrays([rewards], {"rewards": x.shape})
        return self._update(x, rewards, self.reinforce_optimizer)

    @tf.function(jit_compile=True)
    def _update(self, x, weight, optimizer):
        loss, gradients = self.gradients(x, weight)
        optimizer.apply_gradients(zip(gradients, self.weights.values()))
        return loss

    def gradients(self, x, weight):
        """The sum of -weight * log p(token | prefix) over x and weight, [B, T] each; and its
        gradients, clipped, in the order of param_shapes."""
        inputs = self.inputs(x)
        embedded = tf.gather(self.weights["embeddings"], inputs)
        with tf.GradientTape() as tape:
            tape.watch(embedded)
            log_prob = self.log_prob_given(embedded, x)
            loss = -tf.reduce_sum(weight * tf.maximum(log_prob, LOG_FLOOR))
        _, *weights = self.weights.values()
        gradients = tape.gradient(loss, [embedded, *weights])
        # The norm counts each looked-up row on its own, as the authors' does; then rows are summed.
        (rows, *others), _ = tf.clip_by_global_norm(gradients, self.grad_clip)
        rows = tf.math.unsorted_segment_sum(rows, inputs, self.vocab_size)
        return loss, [rows, *others]


# --------------------------------------------------------------------------------------------------
# Below: drawing a token from many, arranged for the machine.

BLOCKS = 64  # with 32 blocks a draw takes 1.4 times as long


def output_blocks(w_out, b_out):
    """W_out over b_out, and tokens of probability 0 that fill up the last block."""
    padding = [0, -b_out.shape[0] % BLOCKS]
    w_out = tf.pad(w_out, [[0, 0], padding])
    b_out = tf.pad(b_out, [padding], constant_values=-1e30)
    return tf.concat([w_out, b_out[None]], axis=0)


def draw(h, w, uniform):
    """Tokens from softmax(h W_out + b_out): h [N, H], uniform random numbers [N, 2] -> int32 [N].

    Token m * BLOCKS + b stands at logits[:, m, b]. First a block b is drawn by its probability,
    then m: looking through one block alone takes half the time of tf.random.categorical.
    """
    h = tf.pad(h, [[0, 0], [0, 1]], constant_values=1.0)  # for the bias, a row of w
    logits = tf.reshape(h @ w, [h.shape[0], -1, BLOCKS])
    largest = tf.reduce_max(tf.reduce_max(logits, 1), 1)
    probs = tf.exp(logits - largest[:, None, None])
    block = inverse_cdf(tf.reduce_sum(probs, 1), uniform[:, 0])
    logits = tf.gather(logits, block, axis=2, batch_dims=1)
    probs = tf.exp(logits - tf.reduce_max(logits, 1, keepdims=True))
    return inverse_cdf(probs, uniform[:, 1]) * BLOCKS + block


def inverse_cdf(weights, uniform):
    """Indices drawn in proportion to weights [N, M], by uniform random numbers [N]."""
    sums = tf.cumsum(weights, axis=1)
    target = uniform * sums[:, -1]
    # Sums are rounded: a place without weight must not be reached.
    reached = (sums > target[:, None]) & (weights > 0)
    places = tf.range(weights.shape[1])
    return tf.reduce_min(tf.where(reached, places, places[-1]), 1)
