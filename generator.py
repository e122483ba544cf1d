"""The LSTM language model, and the generator that SeqGAN trains (paper, "The Generative
Model for Sequences").

B = batch, T = sequence length, V = vocabulary, E = embedding, H = hidden size.
"""

import numpy as np
import tensorflow as tf

from dataloader import InputError, check_arrays

# The sampler looks for a block of tokens, then in it. With 32 blocks it takes 1.7 times as long.
BLOCKS = 64
# Most sequences that are sampled or scored at once. With 208 both take 1.3 times as long.
PIECE = 1664
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
      sequence_length: T.
      start_token: the input before the first token; not part of a sequence.
      seed: of sampling.

    Raises:
      InputError: an array that does not fit the others; the message names it.
    """

    def __init__(self, params, sequence_length, start_token=0, seed=0):
        super().__init__()
        if len(params) != 15 or np.ndim(params[0]) != 2 or np.ndim(params[3]) != 1:
            ranks = [np.ndim(p) for p in params]
            raise InputError(
                "expected 15 arrays, number 0 (embeddings) of rank 2 and number 3 (bi) of rank 1, "
                f"found {len(params)} of ranks {ranks}"
            )
        self.vocab_size, self.emb_dim = np.shape(params[0])
        self.hidden_dim = len(params[3])
        self.sequence_length = sequence_length
        self.start_token = start_token
        self.rng = tf.random.Generator.from_state([0, 0, seed], alg="philox")  # seed is the key
        names = ("embeddings", "kernel", "bias", "W_out", "b_out")
        for name, value in zip(names, self._pack(params)):
            setattr(self, name, tf.Variable(value, name=name))

    def _pack(self, params):
        """15 arrays -> the 5 that are held: the gates i, f, o, c lie side by side in one matrix."""
        params = check_arrays(params, param_shapes(self.vocab_size, self.emb_dim, self.hidden_dim))
        gates = [params[k : k + 3] for k in (1, 4, 7, 10)]
        kernel = np.concatenate([np.concatenate([w, u]) for w, u, _ in gates], axis=1)
        return params[0], kernel, np.concatenate([b for _, _, b in gates]), *params[13:]

    @property
    def weights(self):
        return self.embeddings, self.kernel, self.bias, self.W_out, self.b_out

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

    def zero_state(self, num):
        """(h, c) before the first input, [num, H] each."""
        return tf.zeros([num, self.hidden_dim]), tf.zeros([num, self.hidden_dim])

    def inputs(self, x):
        """What the LSTM is fed to predict x [B, T], time-major: [T, B]."""
        start = tf.fill([1, x.shape[0]], self.start_token)
        return tf.concat([start, tf.transpose(x)[:-1]], 0)

    def step(self, x, state):
        """One step of the LSTM: inputs x [N, E], state (h, c) [N, H] each -> the next state."""
        h, c = state
        gates = tf.matmul(tf.concat([x, h], 1), self.kernel) + self.bias
        i, f, o, g = tf.split(gates, 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c

    def states(self, inputs):
        """Inputs [T, B, E] -> the hidden states that predict the tokens, [T, B, H]."""
        start = self.zero_state(inputs.shape[1])
        return tf.scan(lambda state, x: self.step(x, state), inputs, start)[0]

    def log_prob(self, x):
        """log p(token | prefix) of every token of x, int [B, T]; float32 [B, T], in nats."""
        x = tf.convert_to_tensor(x, tf.int32)
        return tf.concat([self._log_prob(piece) for piece in pieces(x)], 0)[: len(x)]

    def nll(self, x):
        """Mean of -log p(token | prefix) over the tokens of x, int [N, T], in nats per token."""
        return -float(np.mean(self.log_prob(x), dtype=np.float64))

    @tf.function(jit_compile=True)  # saves 40 % of an NLL
    def _log_prob(self, x):
        # One time step after another saves 21 %: the logits of all would not stay in the cache.
        states = self.states(tf.gather(self.embeddings, self.inputs(x)))
        w = self.output_weights()
        return tf.transpose(
            tf.map_fn(
                lambda step: token_log_prob(step[0], w, step[1]),
                (states, tf.transpose(x)),
                fn_output_signature=tf.float32,
            )
        )

    def output_weights(self):
        """W_out over b_out, [H + 1, M * BLOCKS], with tokens of probability 0 at the end."""
        pad = -self.vocab_size % BLOCKS
        b_out = tf.pad(self.b_out[None], [[0, 0], [0, pad]], constant_values=-1e30)
        return tf.concat([tf.pad(self.W_out, [[0, 0], [0, pad]]), b_out], 0)

    def complete(self, x, first, state):
        """Draw the tokens from position `first` on, the tokens before it being given.

        Args:
          x: int32 [N, T], of which x[:, :first] counts.
          first: position of the first token to draw.
          state: (h, c), [N, H] each, after the inputs that precede it.

        Returns:
          int32 [N, T].
        """
        uniform = self.rng.uniform([len(x), self.sequence_length, 2])
        parts = zip(*map(pieces, (x, *state, uniform)))
        first = tf.constant(first)
        return tf.concat([self._complete(x, first, h, c, u) for x, h, c, u in parts], 0)[: len(x)]

    @tf.function(jit_compile=True)  # saves 53 % of a draw
    def _complete(self, x, first, h, c, uniform):
        x, uniform = tf.transpose(x), tf.transpose(uniform, [1, 0, 2])
        state, w = (h, c), self.output_weights()
        t = first  # a loop over tf.range(first, T) would be compiled for each first
        while t < self.sequence_length:
            token = draw(state[0], w, uniform[t])
            token = tf.minimum(token, self.vocab_size - 1)  # where logits are NaN
            x = tf.tensor_scatter_nd_update(x, [[t]], token[None])
            state = self.step(tf.gather(self.embeddings, token), state)
            t += 1
        return tf.transpose(x)

    def sample(self, num):
        """Draw num sequences at temperature 1, int32 [num, T]."""
        start = tf.tile(self.embeddings[self.start_token][None], [num, 1])
        state = self.step(start, self.zero_state(num))
        return self.complete(tf.zeros([num, self.sequence_length], tf.int32), 0, state)


def flat(x):
    """[B, T] -> [T * B], as the time-major states lie."""
    return tf.reshape(tf.transpose(x), [-1])


def pieces(x):
    """Cut x [N, ...] into the fewest equal pieces of at most PIECE rows; the last one is padded."""
    number = -(-len(x) // PIECE)
    size = -(-len(x) // number)
    padding = [[0, number * size - len(x)]] + [[0, 0]] * (len(x.shape) - 1)
    return tf.split(tf.pad(x, padding), number)


def with_one(h):
    """h [N, H] -> [N, H + 1], so that a product with w = W_out over b_out adds the bias, too.

    Adding it to the logits would cost a pass over them: this saves 12 to 23 % of a draw and a
    quarter of an NLL.
    """
    return tf.concat([h, tf.ones([h.shape[0], 1])], 1)


def numerators(h1, w):
    """What a softmax over h1 w divides: h1 from with_one, w from LSTM.output_weights.

    Returns:
      logits [N, M, BLOCKS], in which token m * BLOCKS + b stands at [m, b]; the largest of each
      row, [N]; the exponentials of the logits less that, [N, M, BLOCKS].
    """
    logits = tf.reshape(tf.matmul(h1, w), [h1.shape[0], -1, BLOCKS])
    # Reduced axis by axis, here and in the sums: both axes at once take an NLL 4 to 14 % longer.
    largest = tf.reduce_max(tf.reduce_max(logits, 1), 1)
    return logits, largest, tf.exp(logits - largest[:, None, None])


def draw(h, w, uniform):
    """Tokens from softmax(h W_out + b_out): h [N, H], uniform random numbers [N, 2] -> int32 [N].

    First a block, by the sum of its probabilities, then a token of it, so that only one block of
    BLOCKS is looked through. Compiled, a draw so takes 62 % less time than with
    tf.random.categorical.
    """
    logits, _, exponentials = numerators(with_one(h), w)
    block = search(tf.reduce_sum(exponentials, 1), uniform[:, 0])
    logits = tf.gather(logits, block, axis=2, batch_dims=1)
    largest = tf.reduce_max(logits, 1, keepdims=True)
    return search(tf.exp(logits - largest), uniform[:, 1]) * BLOCKS + block


def search(weights, uniform):
    """Indices drawn in proportion to weights [N, M], by inverse CDF, from uniform numbers [N]."""
    sums = tf.cumsum(weights, axis=1)
    # Only places of positive weight count, whatever the rounding of the sums.
    reached = (sums > (uniform * sums[:, -1])[:, None]) & (weights > 0)
    places = tf.range(weights.shape[1])
    return tf.reduce_min(tf.where(reached, places, places[-1]), 1)


@tf.custom_gradient
def token_log_prob(h, w, x):
    """log softmax(h W_out + b_out) at tokens x [N]: h [N, H] -> [N].

    The gradient uses the exponentials again: against automatic differentiation that saves 42 % of
    an MLE step.
    """
    h1 = with_one(h)
    _, largest, exponentials = numerators(h1, w)
    total = tf.reduce_sum(tf.reduce_sum(exponentials, 1), 1)
    at_x = tf.gather(tf.transpose(w), x)
    log_prob = tf.reduce_sum(h1 * at_x, 1) - largest - tf.math.log(total)

    def gradient(upstream):
        upstream = upstream[:, None]
        share = upstream / total[:, None]
        e = tf.reshape(exponentials, [h.shape[0], -1])
        dh = upstream * at_x - share * tf.matmul(e, w, transpose_b=True)
        dw = tf.math.unsorted_segment_sum(upstream * h1, x, w.shape[1])
        return dh[:, :-1], tf.transpose(dw) - tf.matmul(share * h1, e, transpose_a=True), None

    return log_prob, gradient


class Generator(LSTM):
    """The generator G: an LSTM with its two updates, by maximum likelihood and by policy gradient.

    Every parameter starts as Normal(0, 0.1). Each update has Adam moments of its own.

    Args:
      vocab_size, emb_dim, hidden_dim, sequence_length, start_token: V, E, H, T and the first input.
      learning_rate: of both updates.
      grad_clip: global norm to which gradients are clipped.
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
        rng = np.random.default_rng(seed)
        shapes = param_shapes(vocab_size, emb_dim, hidden_dim).values()
        params = [np.float32(0.1) * rng.standard_normal(s, np.float32) for s in shapes]
        super().__init__(params, sequence_length, start_token, seed)
        self.grad_clip = grad_clip
        # TensorFlow 1's Adam: one fused kernel a variable, and moments of embedding rows that a
        # batch does not touch decay and move the row all the same.
        self.pretrain_optimizer = tf.compat.v1.train.AdamOptimizer(learning_rate)
        self.reinforce_optimizer = tf.compat.v1.train.AdamOptimizer(learning_rate)

    def pretrain_step(self, x):
        """One MLE step on x, int [B, T]; returns the loss before it, mean nats per token."""
        return self._pretrain_step(tf.convert_to_tensor(x, tf.int32))

    @tf.function
    def _pretrain_step(self, x):
        weight = tf.fill(tf.shape(x), 1 / tf.size(x, tf.float32))
        return self._update(x, weight, self.pretrain_optimizer)

    def reinforce_step(self, x, rewards):
        """One policy-gradient step on x, int [B, T], with rewards, float [B, T] (paper, eq. 6-8).

        Returns the loss before it: the sum over B and T of -reward * log p(token | prefix).
        """
        x = tf.convert_to_tensor(x, tf.int32)
        return self._reinforce_step(x, tf.cast(rewards, tf.float32))

    @tf.function
    def _reinforce_step(self, x, rewards):
        return self._update(x, rewards, self.reinforce_optimizer)

    def _update(self, x, weight, optimizer):
        """Minimise the sum of -weight * log p, weight float [B, T]."""
        loss, (rows, *gradients) = self._gradients(x, weight)
        embeddings = tf.math.unsorted_segment_sum(rows, self.inputs(x), self.vocab_size)
        optimizer.apply_gradients(zip([embeddings, *gradients], self.weights))
        return loss

    @tf.function(jit_compile=True)  # saves 19 % of an MLE step
    def _gradients(self, x, weight):
        """The loss and its clipped gradients; the embeddings' has a row per input, [T, B, E]."""
        with tf.GradientTape() as tape:
            inputs = tf.gather(self.embeddings, self.inputs(x))
            tape.watch(inputs)
            h = tf.reshape(self.states(inputs), [-1, self.hidden_dim])
            log_prob = token_log_prob(h, self.output_weights(), flat(x))
            loss = -tf.reduce_sum(flat(weight) * tf.maximum(log_prob, LOG_FLOOR))
        gradients = tape.gradient(loss, [inputs, *self.weights[1:]])
        # The norm counts each looked-up row on its own; a token's rows are summed only later.
        return loss, tf.clip_by_global_norm(gradients, self.grad_clip)[0]
