"""The LSTM language model, and the generator that SeqGAN trains (paper, sections 3 and 4.1).

B = batch, T = sequence length, V = vocabulary, E = embedding, H = hidden size.
"""

import numpy as np
import tensorflow as tf

from dataloader import InputError, check_arrays

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
        self.rng = tf.random.Generator.from_seed(seed, alg="philox")
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

    def step(self, x, state):
        """One step of the LSTM: inputs x [N, E], state (h, c) [N, H] each -> the next state."""
        h, c = state
        gates = tf.matmul(tf.concat([x, h], 1), self.kernel) + self.bias
        i, f, o, g = tf.split(gates, 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c

    def start(self, num):
        """The first input, embedded: [num, E]."""
        return tf.tile(self.embeddings[self.start_token][None], [num, 1])

    def draw(self, h):
        """Tokens drawn from softmax(h W_out + b_out): h [N, H] -> int32 [N]."""
        uniform = self.rng.uniform([len(h), 1])
        logits = tf.matmul(h, self.W_out) + self.b_out
        cumulated = tf.cumsum(tf.exp(logits - tf.reduce_max(logits, 1, keepdims=True)), axis=1)
        below = cumulated <= uniform * cumulated[:, -1:]
        return tf.reduce_sum(tf.cast(below, tf.int32), 1)

    def prefixes(self, x):
        """x [B, T] -> the inputs of every step, [B, T]: the start token and all tokens but the last."""
        return tf.concat([tf.fill([tf.shape(x)[0], 1], self.start_token), x[:, :-1]], 1)

    def states(self, inputs):
        """Embedded inputs [B, T, E] -> the hidden states from which the tokens are predicted [B, T, H]."""
        state, states = self.zero_state(tf.shape(inputs)[0]), []
        for x in tf.unstack(inputs, axis=1):
            state = self.step(x, state)
            states.append(state[0])
        return tf.stack(states, 1)

    def sample(self, num):
        """Draw num sequences at temperature 1, int32 [num, T]."""
        return self._sample(num)

    @tf.function
    def _sample(self, num):
        x, state, tokens = self.start(num), self.zero_state(num), []
        for _ in range(self.sequence_length):
            state = self.step(x, state)
            tokens.append(self.draw(state[0]))
            x = tf.gather(self.embeddings, tokens[-1])
        return tf.stack(tokens, 1)

    def log_prob(self, x):
        """log p(token | prefix) of every token of x, int [B, T]; float32 [B, T], in nats."""
        x = tf.convert_to_tensor(x, tf.int32)
        return tf.concat([self._log_prob(x[k : k + 64]) for k in range(0, len(x), 64)], 0)

    @tf.function(reduce_retracing=True)
    def _log_prob(self, x):
        return self.token_log_prob(tf.gather(self.embeddings, self.prefixes(x)), x)

    def token_log_prob(self, inputs, x):
        """As log_prob, from the embedded inputs [B, T, E] of the tokens x [B, T]."""
        logits = self.states(inputs) @ self.W_out + self.b_out
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=x, logits=logits)


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
        """One policy-gradient step on x, int [B, T], with rewards, float [B, T] (paper, eq. 6 to 8).

        Returns the loss before it: the sum over B and T of -reward * log p(token | prefix).
        """
        x = tf.convert_to_tensor(x, tf.int32)
        return self._reinforce_step(x, tf.cast(rewards, tf.float32))

    @tf.function
    def _reinforce_step(self, x, rewards):
        return self._update(x, rewards, self.reinforce_optimizer)

    def _update(self, x, weight, optimizer):
        """Minimise the sum of -weight * log p, weight float [B, T]."""
        with tf.GradientTape() as tape:
            inputs = tf.gather(self.embeddings, self.prefixes(x))
            log_prob = tf.maximum(self.token_log_prob(inputs, x), LOG_FLOOR)
            loss = -tf.reduce_sum(weight * log_prob)
        # The embeddings' gradient is IndexedSlices: their norm counts each looked-up row on its own.
        gradients = tape.gradient(loss, self.weights)
        gradients, _ = tf.clip_by_global_norm(gradients, self.grad_clip)
        optimizer.apply_gradients(zip(gradients, self.weights))
        return loss
