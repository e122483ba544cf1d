"""The LSTM language model, the generator (paper, "The Generative Model for Sequences"), and Adam.
B = batch, N = any number, T = sequence length, V = vocabulary, E = embedding, H = hidden size."""

import contextlib
import hashlib
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np

from dataloader import (  # It sets environment variables that TensorFlow reads on import.
    END,
    MARKS,
    InputError,
    as_array,
    check_floats,
    check_numbers,
    check_tokens,
    lengths,
    pieces,
    prefixed,
    write_file,
)

# isort: split
import tensorflow as tf

tf.config.experimental.enable_tensor_float_32_execution(False)  # as in the authors' program

LOG_FLOOR = float(np.log(1e-20))  # in training, probabilities below 1e-20 count as 1e-20
# Sequences are drawn in pieces of at most so many logits for each time step, for the memory.
MAX_DRAWN = 8_320_000
# They are judged in pieces of so many: on a CPU those that its cache holds.
MAX_JUDGED = MAX_DRAWN if tf.config.list_physical_devices("GPU") else 1_280_000
BLOCKS = 64  # A draw divides the vocabulary into so many; with 32 it takes 1.3 times as long.
# A pickle can run code when it is read. These two are the authors', and are known not to.
PUBLISHED = {
    "6a0b3b967aa03a952b353709493e2b430fc261d15f9dd658823019b4eaab6c1c",  # target_params.pkl
    "5ac794a695dd6e0eb2bb689f3dfda55e4e0053e8c0399e6242630a95f1e60e8a",  # target_params_py3.pkl
}


def param_shapes(vocab_size, emb_dim, hidden_dim):
    """{name: shape} of the 15 arrays of an LSTM, in the order in which weights are exchanged."""
    shapes = {"embeddings": (vocab_size, emb_dim)}
    for gate in ("i", "f", "o", "c"):
        shapes[f"W{gate}"] = (emb_dim, hidden_dim)
        shapes[f"U{gate}"] = (hidden_dim, hidden_dim)
        shapes[f"b{gate}"] = (hidden_dim,)
    return shapes | {"W_out": (hidden_dim, vocab_size), "b_out": (vocab_size,)}


PARAM_NAMES = list(param_shapes(1, 1, 1))
ABOUT = ["sequence_length", "start_token", "words"]  # of the model, in a file that a run writes


def check_params(params, sizes=None):
    """The 15 arrays as float32, and V, E and H. InputError unless they are finite and fit these
    sizes, or one another where none are given."""
    if len(params) != len(PARAM_NAMES):
        raise InputError(f"expected the 15 arrays {PARAM_NAMES}, found {len(params)}")
    if sizes is None:
        embeddings, *_, w_out, _ = params
        if np.ndim(embeddings) != 2 or np.ndim(w_out) != 2:
            raise InputError("embeddings, W_out: expected two dimensions each, found others")
        sizes = (*np.shape(embeddings), len(w_out))
    named = zip(params, param_shapes(*sizes).items())
    return [check_floats(array, shape, name) for array, (name, shape) in named], sizes


class Made(type):
    """The class of classes whose objects are closed once they are made, by the __init__ of the last
    subclass; see Fixed."""

    def __call__(cls, *args, **kwargs):
        made = super().__call__(*args, **kwargs)
        vars(made)["_made"] = True
        return made


class Fixed(metaclass=Made):
    """A model whose public attributes cannot be set: what is compiled would not see it, and what a
    run is resumed from would not have it.

    The numbers that a training may change are variables, as in generator.grad_clip.assign(1.0).
    """

    def __setattr__(self, name, value):
        if "_made" in vars(self) and not name.startswith("_"):
            raise AttributeError(f"{name} cannot be set; a model's variables have assign()")
        super().__setattr__(name, value)


class Adam(Fixed):
    """TensorFlow 1's Adam (Kingma and Ba, ICLR 2015), one fused kernel a variable:
    w <- w - rate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon).

    Args:
      weights: {name: tf.Variable} of what it moves.
      learning_rate: its rate, 0 to 1; the attribute is a variable.
    """

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def __init__(self, weights, learning_rate):
        self.weights = weights
        self.learning_rate = tf.Variable(float(learning_rate), dtype=tf.float32)
        self.beta1_power, self.beta2_power = tf.Variable(self.beta1), tf.Variable(self.beta2)
        self.m = {name: tf.Variable(tf.zeros_like(w)) for name, w in weights.items()}
        self.v = {name: tf.Variable(tf.zeros_like(w)) for name, w in weights.items()}

    def state(self):
        """{name: tf.Variable} of all that a step or a user changes, but for the weights."""
        state = {"learning_rate": self.learning_rate}
        state |= {"beta1": self.beta1_power, "beta2": self.beta2_power}
        for name in self.weights:
            state[f"{name}/m"] = self.m[name]
            state[f"{name}/v"] = self.v[name]
        return state

    def apply(self, gradients):
        """One step, by dense gradients in the order of weights."""
        for name, gradient in zip(self.weights, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=self.weights[name].handle,
                m=self.m[name].handle,
                v=self.v[name].handle,
                beta1_power=self.beta1_power,
                beta2_power=self.beta2_power,
                lr=self.learning_rate,
                beta1=self.beta1,
                beta2=self.beta2,
                epsilon=self.epsilon,
                grad=gradient,
            )
        self.beta1_power.assign(self.beta1_power * self.beta1)
        self.beta2_power.assign(self.beta2_power * self.beta2)


class LSTM(Fixed):
    """Language model over token sequences: oracle, generator and rollout policy are each one.

    Args:
      params: 15 float arrays as in param_shapes; InputError names one that does not fit.
      sequence_length, start_token: T; the input before the first token of a sequence.
      words: of a text; words[k] is token k, and MARKS come first. END ends a sequence and fills it
        up; what follows the first END does not count. None: every token counts.
      seed: of sampling, 0 to 2**64 - 1.
      rng: the tf.random.Generator to draw by, in place of one by the seed.
    """

    def __init__(self, params, sequence_length, start_token=0, words=None, seed=0, rng=None):
        params, self.sizes = check_params(params)
        self.vocab_size, self.emb_dim, self.hidden_dim = self.sizes
        check_numbers(1, 10**7, sequence_length=sequence_length)
        check_numbers(0, self.vocab_size - 1, start_token=start_token)
        check_numbers(0, 2**64 - 1, seed=seed)
        if words is not None:
            words = list(words)
            if len(words) != self.vocab_size or words[:2] != MARKS:
                what = f"{self.vocab_size} of them, {' and '.join(MARKS)} first"
                raise InputError(f"words: expected {what}, found {len(words)}, {words[:2]} first")
            if len(set(words)) < len(words) or any(word.split() != [word] for word in words):
                raise InputError("words: expected different ones without blanks, found others")

        self.sequence_length, self.start_token = int(sequence_length), int(start_token)
        self.words = words
        self.input_shape = (None, self.sequence_length)
        # The seed is the key of the random numbers.
        self.rng = rng or tf.random.Generator.from_state([0, 0, seed], alg="philox")
        self.weights = {name: tf.Variable(p) for name, p in zip(PARAM_NAMES, params)}

    def state(self):
        """{name: tf.Variable} of all that a step or a draw changes."""
        return {**self.weights, "random state": self.rng.state}

    def get_params(self):
        """The 15 NumPy arrays, in the order of param_shapes."""
        return [weight.numpy() for weight in self.weights.values()]

    def set_params(self, params):
        """Take 15 arrays; raises InputError naming the one that does not fit."""
        params, _ = check_params(params, sizes=self.sizes)
        for weight, array in zip(self.weights.values(), params):
            weight.assign(array)

    def save(self, path):
        """Write a file that `load` takes."""
        arrays = dict(zip(PARAM_NAMES, self.get_params()))
        arrays["sequence_length"], arrays["start_token"] = self.sequence_length, self.start_token
        arrays["words"] = np.frombuffer("\n".join(self.words or []).encode(), np.uint8)
        data = io.BytesIO()
        np.savez(data, **arrays)
        write_file(path, data.getvalue())

    def step(self, state, x):
        """The state after one more token (paper, eq. 9): (h, c), float [N, H] each. state: the one
        before it; x: the embedded tokens, float [N, E]."""
        h, c = state
        w = self.weights
        i = tf.sigmoid(x @ w["Wi"] + h @ w["Ui"] + w["bi"])  # input gate
        f = tf.sigmoid(x @ w["Wf"] + h @ w["Uf"] + w["bf"])  # forget gate
        o = tf.sigmoid(x @ w["Wo"] + h @ w["Uo"] + w["bo"])  # output gate
        g = tf.tanh(x @ w["Wc"] + h @ w["Uc"] + w["bc"])  # candidate

        c = f * c + i * g
        h = o * tf.tanh(c)
        return h, c

    def counted(self, x):
        """Mask of the tokens of x, int [N, T], that count: with words 1 up to and including the
        first END, and 0 after it; else 1 for all. float32 [N, T]."""
        length = lengths(x, END if self.words else None)
        return np.float32(np.arange(self.sequence_length) <= length[:, None])

    def log_prob(self, x):
        """log p(token | prefix) of x, int [N, T], in nats, 0 where not counted; float32 [N, T]."""
        x = check_tokens(x, self.input_shape, self.vocab_size)
        parts = pieces(x, max(1, MAX_JUDGED // self.vocab_size))
        log_prob = tf.concat([self._log_prob(part) for part in parts], axis=0)
        return log_prob * self.counted(x)

    def nll(self, x):
        """Mean -log p(token | prefix) of the tokens of x, int [N, T], that count, in nats."""
        log_prob = self.log_prob(x).numpy()
        return -float(np.sum(log_prob, dtype=np.float64) / np.count_nonzero(self.counted(x)))

    def inputs(self, x):
        """The LSTM's inputs that predict x [B, T]: the start token, then x without its last."""
        start = tf.fill([len(x), 1], self.start_token)
        return tf.concat([start, x[:, :-1]], axis=1)

    def states(self, embedded):
        """The LSTM's states h after each of its inputs: [B, T, E] -> [T, B, H]."""
        zeros = tf.zeros([embedded.shape[0], self.hidden_dim])
        h, _ = tf.scan(self.step, tf.transpose(embedded, [1, 0, 2]), (zeros, zeros))
        return h

    def log_prob_of(self, token, h):
        """log p(token) after states h: int [N], [N, H] -> float32 [N]."""
        logits = h @ self.weights["W_out"] + self.weights["b_out"]
        return tf.gather(tf.nn.log_softmax(logits), token, batch_dims=1)

    @tf.function(jit_compile=True)
    def _log_prob(self, x):
        h = self.states(tf.gather(self.weights["embeddings"], self.inputs(x)))
        # One time step after another: the logits of all of them do not fit a CPU's cache.
        log_prob = tf.map_fn(
            lambda now: self.log_prob_of(*now), (tf.transpose(x), h), fn_output_signature=tf.float32
        )
        return tf.transpose(log_prob)

    @contextlib.contextmanager
    def drawing_by(self, seed):
        """Draw by this seed within the block; after it the random state is what it was before."""
        check_numbers(0, 2**64 - 1, seed=seed)
        kept = self.rng.state.numpy()
        self.rng.reset([0, 0, seed])
        try:
            yield
        finally:
            self.rng.reset(kept)

    def sample(self, num, prefix=(), temperature=1.0):
        """Draw sequences; int32 [num, T]. The first draw of each new num takes seconds more.

        prefix: tokens that all sequences begin with, int [K], or one row for each, int [num, K].
        """
        check_numbers(1, 10**7, num=num)
        prefix = as_array(prefix, "prefix")
        x = np.zeros([num, self.sequence_length], np.int32)
        given = 0
        if prefix.size:
            shape = (num, None) if prefix.ndim == 2 else (None,)
            prefix = check_tokens(prefix, shape, self.vocab_size, "prefix")
            given = prefix.shape[-1]
            check_numbers(0, self.sequence_length, **{"tokens in prefix": given})
            x[:, :given] = prefix
        return self.complete(x, given, temperature)

    def complete(self, x, given, temperature=1.0):
        """Keep the first `given` tokens of each row of x, int32 [N, T], and draw those after from
        softmax(logits / temperature) (paper, eq. 10)."""
        x = check_tokens(x, self.input_shape, self.vocab_size)
        check_numbers(0, self.sequence_length, given=given)
        check_numbers(1e-6, 1e6, whole=False, temperature=temperature)
        uniform = self.rng.uniform([len(x), self.sequence_length, 2])
        given, temperature = tf.constant(given, tf.int32), tf.constant(temperature, tf.float32)
        rows = max(1, MAX_DRAWN // self.vocab_size)
        parts = zip(pieces(x, rows), pieces(uniform, rows))
        return tf.concat([self._complete(*part, given, temperature) for part in parts], axis=0)

    @tf.function(jit_compile=True)  # without it a draw takes three times as long
    def _complete(self, x, uniform, given, temperature):
        blocks = output_blocks(self.weights["W_out"], self.weights["b_out"]) / temperature
        embeddings = self.weights["embeddings"]
        zeros = tf.zeros([len(x), self.hidden_dim])
        start = tf.fill([len(x)], self.start_token)
        ended = tf.fill([len(x)], False)
        x, uniform = tf.transpose(x), tf.transpose(uniform, [1, 0, 2])
        state = self.step((zeros, zeros), tf.gather(embeddings, start))

        t = 0  # No loop over tf.range: it would be compiled anew for each `given`.
        while t < given:
            if self.words:
                ended = ended | (x[t] == END)
            state = self.step(state, tf.gather(embeddings, x[t]))
            t += 1
        while t < self.sequence_length:
            token = draw(state[0], blocks, uniform[t])
            token = tf.minimum(token, self.vocab_size - 1)  # where logits are NaN
            if self.words:
                token = tf.where(ended, END, token)
                ended = token == END
            x = tf.tensor_scatter_nd_update(x, [[t]], token[None])
            state = self.step(state, tf.gather(embeddings, token))
            t += 1
        return tf.transpose(x)


class Generator(LSTM):
    """The generator G: an LSTM with its two updates, each with an Adam of its own.

    Args:
      vocab_size, emb_dim, hidden_dim, sequence_length: V, E, H, T; start_token, words: as in LSTM.
      learning_rate: of MLE's Adam.
      adversarial_learning_rate: of the policy gradient's; None: the same.
      grad_clip: the global norm to which gradients are clipped; the attribute is a variable.
      seed: of initial values, all Normal(0, 0.1), and of sampling.
    """

    def __init__(
        self, vocab_size, emb_dim, hidden_dim, sequence_length, start_token=0, words=None,
        learning_rate=0.01, adversarial_learning_rate=None, grad_clip=5.0, seed=0,
    ):  # fmt: skip
        check_numbers(2, 10**7, vocab_size=vocab_size)
        check_numbers(1, 10**7, emb_dim=emb_dim, hidden_dim=hidden_dim)
        if adversarial_learning_rate is None:
            adversarial_learning_rate = learning_rate
        check_numbers(0, 1, whole=False, learning_rate=learning_rate)
        check_numbers(0, 1, whole=False, adversarial_learning_rate=adversarial_learning_rate)
        check_numbers(1e-30, 1e30, whole=False, grad_clip=grad_clip)
        check_numbers(0, 2**64 - 1, seed=seed)
        rng = np.random.default_rng(seed)
        shapes = param_shapes(vocab_size, emb_dim, hidden_dim).values()
        params = [np.float32(0.1) * rng.standard_normal(shape, np.float32) for shape in shapes]
        super().__init__(params, sequence_length, start_token, words, seed)
        self.grad_clip = tf.Variable(float(grad_clip), dtype=tf.float32)
        self.pretrain_optimizer = Adam(self.weights, learning_rate)
        self.reinforce_optimizer = Adam(self.weights, adversarial_learning_rate)

    def state(self):
        """{name: tf.Variable} of all that a step, a draw or a user changes."""
        state = super().state() | {"grad_clip": self.grad_clip}
        state |= {f"pretrain/{n}": v for n, v in self.pretrain_optimizer.state().items()}
        state |= {f"reinforce/{n}": v for n, v in self.reinforce_optimizer.state().items()}
        return state

    def take_weights(self, model):
        """Take the weights of an LSTM; InputError if its sizes, words or start token are others."""
        if model.words is not None and self.words is None:
            raise InputError("it is of a text, and TEXT_FILE is not set")
        if model.sizes != self.sizes:
            what = f"VOCAB_SIZE, EMB_DIM, HIDDEN_DIM of {self.sizes}, found {model.sizes}"
            raise InputError(f"expected a model with {what}")
        for name in ("words", "start_token"):
            if getattr(model, name) != getattr(self, name):
                raise InputError(f"expected a model of the same {name}, found another")
        self.set_params(model.get_params())

    def pretrain_step(self, x):
        """One MLE step on x, int [B, T]; the mean NLL per token before it, with LOG_FLOOR."""
        x = check_tokens(x, self.input_shape, self.vocab_size)
        counted = self.counted(x)
        return self._update(x, counted / np.sum(counted), self.pretrain_optimizer)

    def reinforce_step(self, x, rewards):
        """One policy-gradient step (paper, eq. 6-8) on x, int [B, T], with rewards, float [B, T];
        the sum of -reward * log p(token | prefix), with LOG_FLOOR, over what counts, before it."""
        x = check_tokens(x, self.input_shape, self.vocab_size)
        rewards = check_floats(rewards, x.shape, "rewards")
        return self._update(x, rewards * self.counted(x), self.reinforce_optimizer)

    @tf.function(jit_compile=True)
    def _update(self, x, weight, optimizer):
        loss, gradients, _ = self.gradients(x, weight)
        optimizer.apply(gradients)
        return loss

    def gradients(self, x, weight):
        """The sum of -weight * log p(token | prefix) over x and weight, [B, T] each; its gradients,
        clipped, in the order of param_shapes; and their norm before they are clipped."""
        inputs = self.inputs(x)
        embedded = tf.gather(self.weights["embeddings"], inputs)
        with tf.GradientTape() as tape:
            tape.watch(embedded)
            h = tf.transpose(self.states(embedded), [1, 0, 2])  # [B, T, H]
            h = tf.reshape(h, [-1, self.hidden_dim])
            log_prob = tf.reshape(self.log_prob_of(tf.reshape(x, [-1]), h), x.shape)
            loss = -tf.reduce_sum(weight * tf.maximum(log_prob, LOG_FLOOR))
        others = list(self.weights.values())[1:]
        gradients = tape.gradient(loss, [embedded, *others])
        # The norm counts each looked-up row on its own, as in the authors' program. Then the rows
        # of a token are summed.
        gradients, norm = tf.clip_by_global_norm(gradients, self.grad_clip)
        gradients[0] = tf.math.unsorted_segment_sum(gradients[0], inputs, self.vocab_size)
        return loss, gradients, norm


def load(path, seed=0, sequence_length=None):
    """The LSTM of a file; InputError, naming it, if it has none. A file that a run wrote says of
    which length it is, its start token and its words. For weights alone the length is needed."""
    params, about = read_model(path)
    if not about and sequence_length is None:
        raise InputError(f"{path}: expected a model that a run wrote, found weights alone")
    about = about or {"sequence_length": sequence_length}
    with prefixed(path):
        return LSTM(params, **about, seed=seed)


def read_model(path):
    """The 15 arrays of a file, and {name: value} of ABOUT, {} if it has weights alone.

    It is an .npz or one of the two pickles that the authors published; InputError where it is
    neither. No file but these two can run code, and none is unpacked to over four times its size.
    """
    try:
        data = Path(path).read_bytes()
        if hashlib.sha256(data).hexdigest() in PUBLISHED:
            # Python 2 wrote array bytes as text; latin-1 maps each character to its byte.
            return pickle.loads(data, encoding="latin1"), {}
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > 4 * len(data):
            raise ValueError("it unpacks to over four times its size")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            names, arrays = file.files, list(file.values())
        unnamed = [f"arr_{n}" for n in range(15)]
        if names in (PARAM_NAMES, unnamed):
            return arrays, {}
        if names != PARAM_NAMES + ABOUT:
            raise ValueError(f"its arrays are {names!s:.80}")
        length, start, words = arrays[15:]
        words = bytes(words).decode().split("\n") if len(words) else None
        return arrays[:15], dict(zip(ABOUT, [length.item(), start.item(), words]))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever a damaged file provokes in the readers
        what = f"expected an .npz of the 15 arrays of an LSTM, but {str(error) or repr(error):.200}"
        hint = 'np.savez(path, *pickle.load(file, encoding="latin1")) makes one of a trusted pickle'
        raise InputError(f"{path}: {what} ({hint})") from None


def output_blocks(w_out, b_out):
    """W_out, and b_out as one more row below it. Tokens of probability 0 are added, so that all
    blocks are of one size: float [H + 1, a multiple of BLOCKS]."""
    padding = [0, -b_out.shape[0] % BLOCKS]
    w_out = tf.pad(w_out, [[0, 0], padding])
    b_out = tf.pad(b_out, [padding], constant_values=-1e30)
    return tf.concat([w_out, b_out[None]], axis=0)


def draw(h, blocks, uniform):
    """Tokens drawn from a softmax, int32 [N]: states h [N, H], blocks as output_blocks makes them
    (divided by a temperature), uniform random numbers [N, 2].

    Token m * BLOCKS + b stands at logits[:, m, b]. First a block b is drawn by its probability,
    then m: looking through one block alone takes a third of the time of tf.random.categorical.
    """
    h = tf.pad(h, [[0, 0], [0, 1]], constant_values=1.0)  # for the biases
    logits = tf.reshape(h @ blocks, [h.shape[0], -1, BLOCKS])
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
