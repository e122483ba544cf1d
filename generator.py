"""The LSTM language model, and the generator that SeqGAN trains (paper, "The Generative
Model for Sequences").

B = batch, T = sequence length, V = vocabulary, E = embedding, H = hidden size; x is tokens. What
takes tensors (step, predict, complete, gradients) does not check them.
"""

import numpy as np
import tensorflow as tf

from dataloader import InputError, check_array, check_arrays, check_number, check_tokens, lengths

LOG_FLOOR = float(np.log(1e-20))  # training takes probabilities below 1e-20 for 1e-20


def param_shapes(vocab_size, emb_dim, hidden_dim):
    """{name: shape} of the 15 arrays of an LSTM, in the order in which weights are exchanged."""
    shapes = {"embeddings": (vocab_size, emb_dim)}
    for gate in ("i", "f", "o", "c"):
        shapes[f"W{gate}"] = (emb_dim, hidden_dim)
        shapes[f"U{gate}"] = (hidden_dim, hidden_dim)
        shapes[f"b{gate}"] = (hidden_dim,)
    return shapes | {"W_out": (hidden_dim, vocab_size), "b_out": (vocab_size,)}


class LSTM(tf.Module):
    """Language model over token sequences (paper, eq. 9 and 10): oracle, generator, rollout policy.

    Args:
      params: 15 float arrays, of the shapes and in the order of param_shapes.
      sequence_length, start_token: T, and the input before the first token of a sequence.
      seed: of sampling.
    """

    def __init__(self, params, sequence_length, start_token=0, seed=0):
        super().__init__()
        if [np.ndim(p) for p in params] != [2, *[2, 2, 1] * 4, 2, 1]:
            raise InputError(f"expected 15 arrays as in param_shapes, found {len(params)}")
        (self.vocab_size, self.emb_dim), self.hidden_dim = np.shape(params[0]), len(params[3])
        check_number("sequence_length", sequence_length, 1, 10**6)
        check_number("start_token", start_token, 0, self.vocab_size - 1)
        check_number("seed", seed, 0, 2**64 - 1)
        self.sequence_length, self.start_token = sequence_length, start_token
        self.rng = tf.random.Generator.from_state([0, 0, seed], alg="philox")  # seed is the key
        names = ("embeddings", "kernel", "bias", "W_out", "b_out")
        self.weights = [tf.Variable(p, name=name) for p, name in zip(self._pack(params), names)]
        self.embeddings, self.kernel, self.bias, self.W_out, self.b_out = self.weights

    def _pack(self, params):
        """15 arrays -> the 5 that are held: the gates i, f, o, c lie side by side in one matrix."""
        params = check_arrays(params, param_shapes(self.vocab_size, self.emb_dim, self.hidden_dim))
        gates = [params[k : k + 3] for k in (1, 4, 7, 10)]
        kernel = np.concatenate([np.concatenate([w, u]) for w, u, _ in gates], axis=1)
        return params[0], kernel, np.concatenate([b for _, _, b in gates]), *params[13:]

    def get_params(self):
        """The 15 NumPy arrays in the order of param_shapes."""
        embeddings, kernel, bias, w_out, b_out = (w.numpy() for w in self.weights)
        params = [embeddings]
        for k, b in zip(np.split(kernel, 4, axis=1), np.split(bias, 4)):
            params += [k[: self.emb_dim], k[self.emb_dim :], b]
        return [*params, w_out, b_out]

    def set_params(self, params):
        """Take 15 arrays; raises InputError (a ValueError) naming the array that does not fit."""
        for weight, value in zip(self.weights, self._pack(params)):
            weight.assign(value)

    def check(self, x):
        """Tokens x, int [B, T], as int32; raises InputError if they are none of this model's."""
        return check_tokens(x, (None, self.sequence_length), self.vocab_size)

    def step(self, embedded, state):
        """One step: embedded input [N, E], state (h, c) [N, H] each -> the next state."""
        h, c = state
        gates = tf.matmul(tf.concat([embedded, h], 1), self.kernel) + self.bias
        i, f, o, g = tf.split(gates, 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c

    def inputs(self, x):
        """The tokens that the LSTM is fed to predict x [B, T], time-major: [T, B]."""
        start = tf.fill([1, x.shape[0]], self.start_token)
        return tf.concat([start, tf.transpose(x)[:-1]], 0)

    def predict(self, embedded, x):
        """log p(token | prefix) of x [B, T], given its embedded inputs [T, B, E]; [B, T]."""
        zeros = tf.zeros([len(x), self.hidden_dim])
        h, _ = tf.scan(lambda state, e: self.step(e, state), embedded, (zeros, zeros))
        tokens = tf.reshape(tf.transpose(x), [-1])
        h = tf.reshape(h, [-1, self.hidden_dim])
        log_prob = token_log_prob(h, self.output_weights(), tokens)
        return tf.transpose(tf.reshape(log_prob, x.shape[::-1]))

    def log_prob(self, x):
        """log p(token | prefix) of every token of x, int [B, T]; float32 [B, T], in nats."""
        x = tf.constant(self.check(x))
        return tf.concat([self._log_prob(rows) for rows in split_rows(x, 128)], 0)[: len(x)]

    @tf.function(jit_compile=True)
    def _log_prob(self, x):
        return self.predict(tf.gather(self.embeddings, self.inputs(x)), x)

    def nll(self, x, end=None):
        """Mean -log p(token | prefix) of x, int [N, T], up to its first `end`; nats per token."""
        log_prob = self.log_prob(x).numpy()
        counts = np.arange(self.sequence_length) <= lengths(x, end)[:, None]
        return -float(np.mean(log_prob[counts], dtype=np.float64))

    def sample(self, num, temperature=1.0):
        """Draw num sequences from softmax(logits / temperature), int32 [num, T]."""
        check_number("num", num, 1, 10**7)
        check_number("temperature", temperature, 1e-3, 1e3, (int, float))
        x = tf.zeros([num, self.sequence_length], tf.int32)
        return self.complete(x, 0, self.start_state(num), temperature)

    def mix(self, x, share):
        """x, int [B, T], each token replaced with probability share by one drawn in its place."""
        x = tf.constant(self.check(x))
        kept = self.rng.uniform(x.shape) >= share
        return self.complete(x, 0, self.start_state(len(x)), kept=kept)

    def start_state(self, num):
        """(h, c) after the start token, [num, H] each."""
        start = tf.tile(self.embeddings[self.start_token][None], [num, 1])
        return self.step(start, 2 * (tf.zeros([num, self.hidden_dim]),))

    def complete(self, x, first, state, temperature=1.0, kept=None):
        """Draw the tokens of x, int32 [N, T], from `first` on, where not kept, bool [N, T]; state:
        (h, c), [N, H] each, after the inputs that precede."""
        kept = tf.zeros(x.shape, bool) if kept is None else kept
        uniform = self.rng.uniform([len(x), self.sequence_length, 2])
        # With 208 rows at once a draw takes 1.3 times as long.
        parts = zip(*(split_rows(part, 1664) for part in (x, kept, *state, uniform)))
        first, temperature = tf.constant(first), tf.constant(temperature, tf.float32)
        return tf.concat([self._complete(first, temperature, *p) for p in parts], 0)[: len(x)]

    @tf.function(jit_compile=True)  # saves 53 % of a draw
    def _complete(self, first, temperature, x, kept, h, c, uniform):
        x, kept, uniform = tf.transpose(x), tf.transpose(kept), tf.transpose(uniform, [1, 0, 2])
        state, w = (h, c), self.output_weights() / temperature
        t = first  # a loop over tf.range(first, T) would be compiled for each first
        while t < self.sequence_length:
            token = draw(state[0], w, uniform[t])
            token = tf.minimum(token, self.vocab_size - 1)  # where logits are NaN
            token = tf.where(kept[t], x[t], token)
            x = tf.tensor_scatter_nd_update(x, [[t]], token[None])
            state = self.step(tf.gather(self.embeddings, token), state)
            t += 1
        return tf.transpose(x)

    def output_weights(self):
        """W_out over b_out, [H + 1, M * BLOCKS], with tokens of probability 0 at the end."""
        pad = -self.vocab_size % BLOCKS
        b_out = tf.pad(self.b_out[None], [[0, 0], [0, pad]], constant_values=-1e30)
        return tf.concat([tf.pad(self.W_out, [[0, 0], [0, pad]]), b_out], 0)


class Generator(LSTM):
    """The generator G: an LSTM with its two updates, by maximum likelihood and by policy gradient.

    Every parameter starts as Normal(0, 0.1). Each update has Adam moments of its own.

    Args:
      vocab_size, emb_dim, hidden_dim, sequence_length, start_token: V, E, H, T and the first input.
      learning_rate, grad_clip: Adam's, and the global norm to which gradients are clipped.
      seed: of initial values and sampling.
    """

    def __init__(
        self,
        vocab_size,
        emb_dim,
        hidden_dim,
        sequence_length,
        start_token=0,
        learning_rate=0.01,
        grad_clip=5.0,
        seed=0,
    ):
        check_number("seed", seed, 0, 2**64 - 1)
        rng = np.random.default_rng(seed)
        shapes = param_shapes(vocab_size, emb_dim, hidden_dim).values()
        params = [np.float32(0.1) * rng.standard_normal(s, np.float32) for s in shapes]
        super().__init__(params, sequence_length, start_token, seed)
        self.grad_clip = grad_clip
        # As the authors': rows of the embeddings that a batch does not touch move by their moments.
        self.pretrain_optimizer = tf.compat.v1.train.AdamOptimizer(learning_rate)
        self.reinforce_optimizer = tf.compat.v1.train.AdamOptimizer(learning_rate)
        for optimizer in (self.pretrain_optimizer, self.reinforce_optimizer):
            optimizer._create_slots(self.weights)  # a tf.function makes variables only when new

    def pretrain_step(self, x, own_share=0.0):
        """One MLE step on x, int [B, T]; the loss before it, nats per token. A share of the inputs
        is the generator's own (scheduled sampling, Bengio et al., 2015)."""
        x = self.check(x)
        check_number("own_share", own_share, 0, 1, (int, float))
        fed = self.mix(x, own_share) if own_share else x
        return self._update(x, np.float32(1 / x.size), fed, self.pretrain_optimizer)

    def reinforce_step(self, x, rewards):
        """One policy-gradient step on x, int [B, T], with rewards, float [B, T] (paper, eq. 6-8);
        the loss before it, the sum over B and T of -reward * log p(token | prefix)."""
        x = self.check(x)
        rewards = check_array(rewards, x.shape, "rewards")
        return self._update(x, rewards, x, self.reinforce_optimizer)

    @tf.function
    def _update(self, x, weight, fed, optimizer):
        loss, gradients = self.gradients(x, weight, fed)
        optimizer.apply_gradients(zip(gradients, self.weights))
        return loss

    @tf.function(jit_compile=True)  # saves 19 % of an MLE step
    def gradients(self, x, weight, fed):
        """The sum of -weight * log p(x) where the LSTM is fed `fed`, [B, T] each (weight may be one
        number); and its clipped gradients, in the order of weights."""
        with tf.GradientTape() as tape:
            inputs = self.inputs(fed)
            embedded = tf.gather(self.embeddings, inputs)
            tape.watch(embedded)
            loss = -tf.reduce_sum(weight * tf.maximum(self.predict(embedded, x), LOG_FLOOR))
        gradients = tape.gradient(loss, [embedded, *self.weights[1:]])
        # The norm counts each looked-up row on its own; a token's rows are summed only then.
        (rows, *others), _ = tf.clip_by_global_norm(gradients, self.grad_clip)
        return loss, [tf.math.unsorted_segment_sum(rows, inputs, self.vocab_size), *others]


# --------------------------------------------------------------------------------------------------
# The same mathematics, arranged for the machine.

# A token is looked for in a block of tokens. With 32 blocks a draw takes 1.7 times as long.
BLOCKS = 64


def split_rows(x, most):
    """Cut x [N, ...] into the fewest equal parts of at most so many rows; the last is padded."""
    number = -(-len(x) // most)
    size = -(-len(x) // number)
    padding = [[0, number * size - len(x)]] + [[0, 0]] * (len(x.shape) - 1)
    return tf.split(tf.pad(x, padding), number)


def unnormalised_probs(h, w):
    """softmax(h W_out + b_out), but for its division: h [N, H], w from LSTM.output_weights.
    Returns [h, 1], as the bias is a row of w, which saves 12 to 23 % of a draw; the logits
    [N, M, BLOCKS], token m * BLOCKS + b at [m, b]; the largest of each row; exp(logits - largest).
    """
    h1 = tf.concat([h, tf.ones([h.shape[0], 1])], 1)
    logits = tf.reshape(tf.matmul(h1, w), [h.shape[0], -1, BLOCKS])
    largest = tf.reduce_max(tf.reduce_max(logits, 1), 1)
    return h1, logits, largest, tf.exp(logits - largest[:, None, None])


def draw(h, w, uniform):
    """Tokens from softmax(h W_out + b_out): h [N, H], uniform random numbers [N, 2] -> int32 [N].

    First a block, by the sum of its probabilities, then a token of it, so that only one block of
    BLOCKS is looked through: 62 % less time than by tf.random.categorical.
    """
    _, logits, _, probs = unnormalised_probs(h, w)
    block = inverse_cdf(tf.reduce_sum(probs, 1), uniform[:, 0])
    logits = tf.gather(logits, block, axis=2, batch_dims=1)
    largest = tf.reduce_max(logits, 1, keepdims=True)
    return inverse_cdf(tf.exp(logits - largest), uniform[:, 1]) * BLOCKS + block


def inverse_cdf(weights, uniform):
    """Indices drawn in proportion to weights [N, M], by uniform random numbers [N]."""
    sums = tf.cumsum(weights, axis=1)
    # Only places of positive weight count, whatever the rounding of the sums.
    reached = (sums > (uniform * sums[:, -1])[:, None]) & (weights > 0)
    places = tf.range(weights.shape[1])
    return tf.reduce_min(tf.where(reached, places, places[-1]), 1)


@tf.custom_gradient
def token_log_prob(h, w, x):
    """log softmax(h W_out + b_out) at tokens x [N]: h [N, H] -> [N]; its gradient uses the
    same exponentials, which saves 42 % of an MLE step."""
    h1, _, largest, probs = unnormalised_probs(h, w)
    total = tf.reduce_sum(tf.reduce_sum(probs, 1), 1)
    at_x = tf.gather(tf.transpose(w), x)
    log_prob = tf.reduce_sum(h1 * at_x, 1) - largest - tf.math.log(total)

    def gradient(upstream):
        upstream = upstream[:, None]
        share, p = upstream / total[:, None], tf.reshape(probs, [h.shape[0], -1])
        dh = upstream * at_x - share * tf.matmul(p, w, transpose_b=True)
        dw = tf.math.unsorted_segment_sum(upstream * h1, x, w.shape[1])
        return dh[:, :-1], tf.transpose(dw) - tf.matmul(share * h1, p, transpose_a=True), None

    return log_prob, gradient
