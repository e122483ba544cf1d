"""The models once more, in NumPy float64 and plain loops: what the tests hold the code against."""

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from dataloader import InputError


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def lstm_shapes(vocab_size, emb_dim, hidden_dim):
    """The shapes of the 15 arrays, in the order in which weights are exchanged."""
    gate = [(emb_dim, hidden_dim), (hidden_dim, hidden_dim), (hidden_dim,)]
    return [(vocab_size, emb_dim), *gate * 4, (hidden_dim, vocab_size), (vocab_size,)]


def lstm_params(vocab_size, emb_dim, hidden_dim, scale=1.0, seed=0):
    """15 float32 arrays, normal."""
    rng = np.random.default_rng(seed)
    shapes = lstm_shapes(vocab_size, emb_dim, hidden_dim)
    return [np.float32(scale * rng.standard_normal(shape)) for shape in shapes]


def lstm_log_probs(params, inputs):
    """log p(every token), [B, T, V], after the inputs [B, T] up to there."""
    embeddings, wi, ui, bi, wf, uf, bf, wo, uo, bo, wc, uc, bc, w_out, b_out = (
        np.asarray(p, np.float64) for p in params
    )
    h = c = np.zeros((len(inputs), len(bi)))
    steps = []
    for token in inputs.T:
        e = embeddings[token]
        i = sigmoid(e @ wi + h @ ui + bi)
        f = sigmoid(e @ wf + h @ uf + bf)
        o = sigmoid(e @ wo + h @ uo + bo)
        c = f * c + i * np.tanh(e @ wc + h @ uc + bc)
        h = o * np.tanh(c)
        steps.append(np.log(softmax(h @ w_out + b_out)))
    return np.stack(steps, 1)


def lstm_log_prob(params, x, start_token=0):
    """log p(token | prefix), [B, T]."""
    x = np.asarray(x)
    inputs = np.insert(x[:, :-1], 0, start_token, axis=1)
    return np.take_along_axis(lstm_log_probs(params, inputs), x[..., None], axis=2)[..., 0]


def all_sequences(vocab_size, length):
    """Every sequence there is, [V**T, T]."""
    grids = np.meshgrid(*[np.arange(vocab_size)] * length, indexing="ij")
    return np.stack([g.ravel() for g in grids], 1).astype(np.int32)


def discriminator_logits(params, filter_sizes, x, scale=1.0):
    """Two logits, [B, 2], index 1 = real, by the loops of the definition. scale: what dropout
    multiplies the highway layer's outputs with."""
    params = [np.asarray(p, np.float64) for p in params]
    embedding, convolutions = params[0], params[1 : 1 + 2 * len(filter_sizes)]
    lin, lin_bias, gate, gate_bias, w_out, b_out = params[1 + 2 * len(filter_sizes) :]
    features = []
    for f, w, b in zip(filter_sizes, convolutions[::2], convolutions[1::2]):
        e = embedding[np.asarray(x)]
        windows = range(e.shape[1] - f + 1)
        maps = [np.einsum("bke,ken->bn", e[:, t : t + f], w[:, :, 0]) + b for t in windows]
        features.append(np.maximum(maps, 0).max(0))
    p = np.concatenate(features, 1)
    t = sigmoid(p @ gate.T + gate_bias)
    p = t * np.maximum(p @ lin.T + lin_bias, 0) + (1 - t) * p
    return scale * p @ w_out + b_out


def discriminator_loss(params, filter_sizes, x, y, l2, scale):
    """Mean cross-entropy in nats plus the penalty on the output layer alone."""
    logits = discriminator_logits(params, filter_sizes, x, scale)
    p = softmax(logits)[np.arange(len(y)), y]
    w_out, b_out = (np.asarray(p, np.float64) for p in params[-2:])
    return -np.log(p).mean() + l2 * ((w_out**2).sum() / 2 + (b_out**2).sum() / 2)


def numeric_gradients(loss, arrays, *others, step=1e-6):
    """The gradient of loss(arrays, *others) by each of the arrays, by central differences."""
    arrays = [np.array(array, np.float64) for array in arrays]
    gradients = [np.zeros_like(array) for array in arrays]
    for array, gradient in zip(arrays, gradients):
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = loss(arrays, *others)
            array[index] = kept - step
            below = loss(arrays, *others)
            array[index] = kept
            gradient[index] = (above - below) / (2 * step)
    return gradients


def assert_gradients(found, expected):
    """Every gradient within a thousandth of its size, or a ten-thousandth of the largest."""
    for number, (f, g) in enumerate(zip(found, expected, strict=True)):
        atol = 1e-4 * abs(g).max()
        np.testing.assert_allclose(f, g, rtol=1e-3, atol=atol, err_msg=f"array {number}")


def assert_drawn_from(counts, probabilities):
    """Assert that counts of cells are a draw from their probabilities, by chi-square.

    It fails for one right draw in 8,000 or more. Cells that expect fewer than five are taken
    together.
    """
    counts, probabilities = np.ravel(counts), np.ravel(probabilities)
    expected = counts.sum() * probabilities
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    expected = np.maximum(expected, 1e-9)
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < len(counts) - 1 + 4 * np.sqrt(2 * (len(counts) - 1)) + 8


def assert_same(params, others):
    for p, q in zip(params, others, strict=True):
        np.testing.assert_array_equal(p, q)


def assert_refused(call, message):
    """Assert that the call is refused in one line that begins with the message."""
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def params_of(model):
    """NumPy arrays of a model's weights, in their order."""
    return [weight.numpy() for weight in model.weights.values()]


def nltk_bleu(references, x, n, end=None):
    """Sentence BLEU of each row, by NLTK. With an end token 1 is an unknown word, which differs
    from all others."""

    def cut(row):
        row = list(row)
        return row[: row.index(end)] if end in row else row

    def made_different(row):
        return [token if end is None or token != 1 else object() for token in cut(row)]

    references = [made_different(row) for row in references]
    smooth = SmoothingFunction().method1
    return [sentence_bleu(references, made_different(row), [1 / n] * n, smooth) for row in x]
