"""The LSTM, its sampler and the generator's two updates."""

import numpy as np
import pytest
import reference
import tensorflow as tf

from generator import LSTM, Generator

V, E, H, T = 7, 3, 4, 5
WORDS = "<end> <unknown> a b c d e".split()


@pytest.fixture
def params():
    return reference.lstm_params(V, E, H)


def make_generator(params=None, **options):
    """A generator with these weights, or with those that it draws."""
    sizes = {"vocab_size": V, "emb_dim": E, "hidden_dim": H, "sequence_length": T}
    generator = Generator(**sizes | options)
    if params:
        generator.set_params(params)
    return generator


def some_tokens(num):
    return np.random.default_rng(1).integers(0, V, (num, T), np.int32)


def test_log_prob_is_that_of_the_float64_lstm_whatever_the_start_token(params, monkeypatch):
    monkeypatch.setattr("generator.MAX_JUDGED", 128 * V)  # in three pieces
    x = some_tokens(300)
    for start_token in (0, np.int64(3)):
        expected = reference.lstm_log_prob(params, x, start_token)
        found = LSTM(params, T, start_token).log_prob(x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_nll_is_the_mean_per_token_up_to_the_first_end_and_with_it(params):
    x = np.array([[1, 2, 0, 3, 0], [4, 4, 4, 4, 4], [0, 5, 5, 5, 5], [1, 2, 3, 4, 0]])
    expected = -reference.lstm_log_prob(params, x)
    counted = [(0, 3), (1, 5), (2, 1), (3, 5)]
    mean = np.concatenate([expected[row, :length] for row, length in counted]).mean()
    np.testing.assert_allclose(LSTM(params, T, words=WORDS).nll(x), mean, rtol=1e-6)
    np.testing.assert_allclose(LSTM(params, T).nll(x), expected.mean(), rtol=1e-6)


@pytest.mark.parametrize("start_token", [0, np.int64(3)])  # which log_prob, above, begins with, too
def test_sampler_draws_every_sequence_with_its_probability(start_token):
    params = reference.lstm_params(4, E, H, scale=2.0)
    x = LSTM(params, 3, start_token, seed=5).sample(40_000).numpy()
    cells = reference.all_sequences(4, 3)
    probabilities = np.exp(reference.lstm_log_prob(params, cells, start_token).sum(1))
    reference.assert_drawn_from(np.bincount(x @ [16, 4, 1], minlength=64), probabilities)


def test_sampler_is_exact_over_a_large_vocabulary():
    params = reference.lstm_params(1003, E, H)
    x = LSTM(params, 1, seed=6).sample(200_000).numpy()[:, 0]
    probabilities = np.exp(reference.lstm_log_probs(params, np.zeros([1, 1], int))[0, 0])
    reference.assert_drawn_from(np.bincount(x, minlength=1003), probabilities)


@pytest.mark.parametrize("temperature", [0.5, 2])
def test_prefixes_are_kept_and_a_temperature_divides_the_logits(params, temperature):
    x = LSTM(params, 4, seed=3).sample(40_000, prefix=[5, 1], temperature=temperature).numpy()
    assert (x[:, :2] == [5, 1]).all()
    assert LSTM(params, T).sample(2, [[4, 6], [1, 2]])[:, :2].numpy().tolist() == [[4, 6], [1, 2]]
    cells = np.insert(reference.all_sequences(V, 2), [0, 0], [5, 1], axis=1)
    tempered = [*params[:13], params[13] / temperature, params[14] / temperature]
    probabilities = np.exp(reference.lstm_log_prob(tempered, cells)[:, 2:].sum(1))
    reference.assert_drawn_from(np.bincount(x @ [0, 0, V, 1], minlength=V * V), probabilities)


def test_sampler_never_draws_what_has_no_probability_and_survives_huge_and_missing_logits(params):
    params[14][[0, 3, 6]] = -1e4  # the first token, one in the middle, the last
    x = LSTM(params, T).sample(3000).numpy()
    assert set(np.unique(x)) == {1, 2, 4, 5}
    params[14][2] = 1e4
    model = LSTM(params, T)
    assert (model.sample(100).numpy() == 2).all()
    model.weights["b_out"].assign(np.full(V, np.nan, np.float32))
    x = model.sample(100).numpy()
    assert x.min() >= 0 and x.max() < V


def test_a_text_s_samples_stay_ended_and_their_tokens_have_their_probabilities(params):
    model = LSTM(params, 3, words=WORDS, seed=3)
    x = model.sample(40_000).numpy()
    cells = reference.all_sequences(V, 3)
    log_prob = reference.lstm_log_prob(params, cells)
    ended = np.cumsum(cells == 0, axis=1) - (cells == 0) > 0
    log_prob[ended] = 0.0
    possible = ~(ended & (cells != 0)).any(axis=1)
    probabilities = np.exp(log_prob.sum(1)) * possible
    assert probabilities.sum() == pytest.approx(1)
    reference.assert_drawn_from(np.bincount(x @ [V * V, V, 1], minlength=V**3), probabilities)
    found = model.log_prob(cells[possible])
    np.testing.assert_allclose(found, log_prob[possible], rtol=1e-5, atol=1e-6)
    kept = model.complete(np.tile(np.int32([[0, 5, 5], [2, 0, 5]]), [100, 1]), 2).numpy()
    assert kept.tolist() == [[0, 5, 0], [2, 0, 0]] * 100


def test_what_is_drawn_by_a_seed_does_not_change_what_is_drawn_next(params):
    looked, plain = LSTM(params, T, seed=1), LSTM(params, T, seed=1)
    drawn = []
    for _ in range(2):
        with looked.drawing_by(7):
            drawn.append(looked.sample(20).numpy())
        np.testing.assert_array_equal(looked.sample(20), plain.sample(20))
    np.testing.assert_array_equal(*drawn)
    np.testing.assert_array_equal(drawn[0], LSTM(params, T, seed=7).sample(20))


def test_what_can_be_set_acts_and_what_cannot_act_cannot_be_set(params):
    x, rewards = tf.constant(some_tokens(3)), tf.ones([3, T])
    generator = make_generator(params, learning_rate=0.1, adversarial_learning_rate=0.0)
    compiled = tf.function(generator.gradients)
    norms = []
    for clip in (1.0, 0.25):
        generator.grad_clip.assign(clip)
        norms.append(float(tf.linalg.global_norm(compiled(x, rewards)[1])))
    assert norms[0] > 2 * norms[1] > 0
    generator.reinforce_step(x, rewards)
    reference.assert_same(generator.get_params(), params)  # its rate is 0, that of MLE is not
    generator.reinforce_optimizer.learning_rate.assign(0.1)
    generator.reinforce_step(x, rewards)
    assert all((p != q).any() for p, q in zip(generator.get_params(), params))
    for name in ("start_token", "words", "grad_clip", "learning_rate", "seed"):
        with pytest.raises(AttributeError, match=f"{name} cannot be set"):
            setattr(generator, name, 1)


WRONG_SHAPE = reference.lstm_params(V, E, H)
WRONG_SHAPE[5] = WRONG_SHAPE[5].T[:2]
BAD_CALLS = [
    (lambda g: LSTM(g.get_params(), T, words=[*WORDS[:6], "a"]), "words: expected different ones"),
    (lambda g: g.set_params(WRONG_SHAPE), "Uf: expected shape"),
    (lambda g: g.sample(3, [[1], [2]]), "prefix: expected integers of shape (3, None), found"),
    (lambda g: g.sample(2, [[1], [2, 3]]), "prefix: expected rows of one length, found several"),
    (lambda g: g.sample(1, temperature=0), "temperature: expected a number from 1e-06"),
    (lambda g: g.log_prob([[2**32] * T]), "x: expected integers from 0 to 6, found 4294967296"),
    (lambda g: g.reinforce_step(some_tokens(3), np.ones(3)), "rewards: expected shape (3, 5)"),
    (lambda g: g.reinforce_step([[1] * T], [[np.nan] * T]), "rewards: expected finite"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_arguments_that_do_not_fit_are_named(call, message):
    reference.assert_refused(lambda: call(make_generator()), message)


def test_initial_values_follow_the_seed_and_are_normal_with_deviation_one_tenth():
    params, again = (Generator(500, 8, 9, T, seed=3).get_params() for _ in range(2))
    reference.assert_same(params, again)
    values = np.concatenate([p.ravel() for p in params])
    assert abs(values.mean()) < 0.1 * 4 / np.sqrt(len(values))
    assert abs(values.std() - 0.1) < 0.1 * 4 / np.sqrt(2 * len(values))
    assert all(p.std() > 0 for p in params)  # the biases are drawn, too
    assert make_generator(learning_rate=0.5).reinforce_optimizer.learning_rate == 0.5  # the same
    assert (params[0] != Generator(500, 8, 9, T, seed=4).get_params()[0]).any()


def policy_loss(params, inputs, x, weight):
    log_probs = reference.lstm_log_probs(params, inputs)
    return -(weight * np.take_along_axis(log_probs, x[..., None], axis=2)[..., 0]).sum()


def test_gradients_are_numeric_ones_clipped_by_a_norm_that_counts_every_looked_up_row(params):
    # Many repeats of one token: rows counted apart and rows summed have different norms.
    x = np.int32([[2, 2, 2, 2, 2], [2, 2, 2, 2, 5], [1, 2, 2, 2, 2]])
    weight = np.random.default_rng(2).normal(size=x.shape)  # of any sign
    inputs = np.insert(x[:, :-1], 0, 0, axis=1)
    expected = reference.numeric_gradients(policy_loss, params, inputs, x, weight)
    # A vocabulary of the inputs' own, in which each of them is another token.
    rows, places = params[0][inputs.ravel()], np.arange(x.size).reshape(x.shape)
    apart = reference.numeric_gradients(policy_loss, [rows, *params[1:]], places, x, weight)
    norm, summed = (np.sqrt(sum((g**2).sum() for g in gs)) for gs in (apart, expected))
    assert abs(norm / summed - 1) > 0.05
    for clip in (0.5, 2 * norm):
        generator = make_generator(params, grad_clip=clip)
        weights = tf.constant(weight, tf.float32)
        loss, found, before = generator.gradients(tf.constant(x), weights)
        np.testing.assert_allclose(loss, policy_loss(params, inputs, x, weight), rtol=1e-5)
        np.testing.assert_allclose(before, norm, rtol=1e-4)
        reference.assert_gradients(found, [g * min(1, clip / norm) for g in expected])


def test_tokens_after_the_end_do_not_count_in_either_update(params):
    x = np.array([[2, 3, 0, 0, 0], [4, 0, 0, 0, 0], [2, 3, 4, 5, 6]])
    counted = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
    found = []
    for words in (WORDS, None):
        generator = make_generator(params, words=words)
        generator._update = lambda x, weight, optimizer: found.append(weight)
        generator.pretrain_step(x)
        generator.reinforce_step(x, np.full([3, T], 0.5))
    expected = [counted / 10, counted / 2, np.full([3, T], 1 / 15), np.full([3, T], 0.5)]
    for weight, value in zip(found, expected, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-6)


def test_probabilities_below_the_floor_count_as_it_in_updates_alone_and_give_no_gradient(params):
    params[14][3] = -200.0
    generator, x = make_generator(params), np.full((2, T), 3, np.int32)
    np.testing.assert_allclose(generator.pretrain_step(x), -np.log(1e-20), rtol=1e-6)
    reference.assert_same(generator.get_params(), params)
    expected = -reference.lstm_log_prob(params, x).mean()
    assert expected > 150 and generator.nll(x) == pytest.approx(expected, rel=1e-5)
