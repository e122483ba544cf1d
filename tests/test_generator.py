"""The LSTM, its sampler and the generator's two updates."""

import numpy as np
import pytest
import reference
import tensorflow as tf

from dataloader import InputError
from generator import LSTM, Generator
from rollout import Rollout

V, E, H, T = 7, 3, 4, 5
WORDS = "<end> <unknown> a b c d e".split()


@pytest.fixture
def params():
    return reference.lstm_params(V, E, H)


def make_generator(params=None, **options):
    generator = Generator(V, E, H, T, **options)
    generator.set_params(params or reference.lstm_params(V, E, H))
    return generator


def some_tokens(num, seed=1):
    return np.random.default_rng(seed).integers(0, V, (num, T), np.int32)


def test_log_prob_is_that_of_the_float64_lstm_whatever_the_start_token(params):
    x = some_tokens(300)
    for start_token in (0, 3):
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


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_sampler_draws_every_sequence_with_its_probability(scale):
    params = reference.lstm_params(4, E, H, scale)
    x = LSTM(params, 3, seed=5).sample(40_000).numpy()
    cells = reference.all_sequences(4, 3)
    probabilities = np.exp(reference.lstm_log_prob(params, cells).sum(1))
    reference.assert_drawn_from(np.bincount(x @ [16, 4, 1], minlength=64), probabilities)


def test_sampler_is_exact_over_a_large_vocabulary():
    params = reference.lstm_params(1003, E, H)
    x = LSTM(params, 1, seed=6).sample(200_000).numpy()[:, 0]
    probabilities = np.exp(reference.lstm_log_probs(params, np.zeros([1, 1], int))[0, 0])
    reference.assert_drawn_from(np.bincount(x, minlength=1003), probabilities)


@pytest.mark.parametrize("temperature", [0.5, 2])
def test_a_temperature_divides_the_logits(params, temperature):
    x = LSTM(params, 2, seed=9).sample(40_000, temperature=temperature).numpy()
    cold = [*params[:13], params[13] / temperature, params[14] / temperature]
    probabilities = np.exp(reference.lstm_log_prob(cold, reference.all_sequences(V, 2)).sum(1))
    reference.assert_drawn_from(np.bincount(x @ [V, 1], minlength=V * V), probabilities)


def test_a_sample_begins_with_its_prefix_and_goes_on_by_its_probabilities(params):
    x = LSTM(params, 4, seed=3).sample(40_000, prefix=[5, 1]).numpy()
    assert (x[:, :2] == [5, 1]).all()
    cells = np.insert(reference.all_sequences(V, 2), [0, 0], [5, 1], axis=1)
    probabilities = np.exp(reference.lstm_log_prob(params, cells)[:, 2:].sum(1))
    reference.assert_drawn_from(np.bincount(x @ [0, 0, V, 1], minlength=V * V), probabilities)


def test_sampler_never_draws_what_has_no_probability_and_survives_huge_logits(params):
    params[14][[0, 3, 6]] = -1e4  # the first token, one in the middle, the last
    x = LSTM(params, T).sample(3000).numpy()
    assert set(np.unique(x)) == {1, 2, 4, 5}
    params[14][2] = 1e4
    assert (LSTM(params, T).sample(100).numpy() == 2).all()


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


def test_sampler_and_log_prob_begin_with_the_same_start_token(params):
    x = LSTM(params, 1, start_token=4, seed=2).sample(40_000).numpy()
    probabilities = np.exp(reference.lstm_log_probs(params, np.zeros([1, 1], int), 4)[0, 0])
    reference.assert_drawn_from(np.bincount(x[:, 0], minlength=V), probabilities)


def test_numbers_of_numpy_are_numbers(params):
    model, x = LSTM(params, T, np.int64(3), seed=np.int64(1)), some_tokens(4)
    expected = LSTM(params, T, 3, seed=1)
    np.testing.assert_array_equal(model.complete(x, np.int64(2)), expected.complete(x, 2))
    np.testing.assert_array_equal(model.log_prob(x), expected.log_prob(x))


def test_logits_that_are_no_numbers_still_give_tokens(params):
    model = LSTM(params, T)
    model.weights["b_out"].assign(np.full(V, np.nan, np.float32))
    x = model.sample(100).numpy()
    assert x.min() >= 0 and x.max() < V


def test_an_nll_is_not_floored(params):
    params[14][3] = -200.0
    x = np.full((2, T), 3)
    expected = -reference.lstm_log_prob(params, x).mean()
    assert expected > 150 and LSTM(params, T).nll(x) == pytest.approx(expected, rel=1e-5)


def test_what_is_drawn_by_a_seed_does_not_change_what_is_drawn_next(params):
    looked, plain = LSTM(params, T, seed=1), LSTM(params, T, seed=1)
    drawn = []
    for _ in range(2):
        with looked.drawing_by(7):
            drawn.append(looked.sample(20).numpy())
        np.testing.assert_array_equal(looked.sample(20), plain.sample(20))
    np.testing.assert_array_equal(*drawn)
    np.testing.assert_array_equal(drawn[0], LSTM(params, T, seed=7).sample(20))


def make(kind, **options):
    """An LSTM or a Generator of these options, fit but for them."""
    if kind is LSTM:
        fit = {"params": reference.lstm_params(V, E, H), "sequence_length": T}
    else:
        fit = {"vocab_size": V, "emb_dim": E, "hidden_dim": H, "sequence_length": T}
    return kind(**fit | options)


NAN = float("nan")
BAD_ARGUMENTS = [
    (lambda: make(LSTM, sequence_length=0), "sequence_length: expected a whole number from 1"),
    (lambda: make(LSTM, start_token=V), f"start_token: expected a whole number from 0 to {V - 1}"),
    (lambda: make(LSTM, seed=-1), "seed: expected a whole number from 0"),
    (lambda: make(LSTM, words=["a"]), "words: expected 7, found 1"),
    (lambda: make(Generator, vocab_size=1), "vocab_size: expected a whole number from 2"),
    (lambda: make(Generator, emb_dim=0), "emb_dim: expected a whole number from 1"),
    (lambda: make(Generator, hidden_dim=2.0), "hidden_dim: expected a whole number from 1"),
    (lambda: make(Generator, learning_rate=-1), "learning_rate: expected a number from 0 to 1"),
    (lambda: make(Generator, seed=-1), "seed: expected a whole number from 0"),
    (lambda: LSTM(reference.lstm_params(V, E, H)[:14], T), "params: expected 15 arrays"),
    (lambda: make(Generator, grad_clip=NAN), "grad_clip: expected a number from 1e-30"),
    (lambda: make(LSTM).drawing_by(-1).__enter__(), "seed: expected a whole number from 0"),
    (lambda: make(LSTM).sample(0), "num: expected a whole number from 1"),
    (lambda: make(LSTM).sample(1, [1] * 6), "length of the prefix: expected a whole number"),
    (lambda: make(LSTM).sample(1, [V]), "prefix: expected integers from 0 to 6, found 7"),
    (lambda: make(LSTM).sample(1, temperature=0), "temperature: expected a number from 1e-06"),
    (lambda: make(LSTM).sample(1, temperature=NAN), "temperature: expected a number from 1e-06"),
    (lambda: make(LSTM).sample(1, temperature=-1), "temperature: expected a number from 1e-06"),
    (lambda: make(LSTM).complete(some_tokens(2), T + 1), "given: expected a whole number from 0"),
    (lambda: make(LSTM).complete([[0] * T], 1.5), "given: expected a whole number from 0 to 5"),
    (lambda: make(LSTM).complete([[V] * T], 1), "x: expected integers from 0 to 6, found 7"),
    (lambda: make(LSTM).nll([[0.5] * T]), "x: expected integers of shape"),
]


@pytest.mark.parametrize(("call", "message"), BAD_ARGUMENTS)
def test_arguments_that_do_not_fit_are_named(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value).startswith(message)


def test_sampling_follows_the_seed_of_up_to_64_bits(params):
    seeds = (1, 1, 1 + 2**32, 2**64 - 1)
    drawn = [LSTM(params, T, seed=seed).sample(50).numpy().tobytes() for seed in seeds]
    assert drawn[0] == drawn[1] and len(set(drawn)) == 3


def test_initial_values_follow_the_seed_and_are_normal_with_deviation_one_tenth():
    params, again = (Generator(500, 8, 9, T, seed=3).get_params() for _ in range(2))
    reference.assert_same(params, again)
    values = np.concatenate([p.ravel() for p in params])
    assert abs(values.mean()) < 0.1 * 4 / np.sqrt(len(values))
    assert abs(values.std() - 0.1) < 0.1 * 4 / np.sqrt(2 * len(values))
    assert all(p.std() > 0 for p in params)  # the biases are drawn, too


def test_params_come_back_as_they_were_set_and_others_are_refused_by_name(params):
    generator = Generator(V, E, H, T)
    generator.set_params(params)
    reference.assert_same(generator.get_params(), params)
    with pytest.raises(InputError, match=r"expected the 15 arrays.*found 14"):
        generator.set_params(params[:14])
    params[5] = params[5].T[:2]
    with pytest.raises(
        InputError, match=r"params, .*: Uf: expected shape \(4, 4\), found \(2, 4\)"
    ):
        generator.set_params(params)


def policy_loss(params, x, rewards):
    return -(rewards * reference.lstm_log_prob(params, x)).sum()


def test_gradients_are_numeric_ones_with_weights_of_any_sign(params):
    x, weight = some_tokens(4), np.random.default_rng(2).normal(size=(4, T))
    generator = make_generator(grad_clip=1e9)
    loss, found, _ = generator.gradients(tf.constant(x), tf.constant(weight, tf.float32))
    np.testing.assert_allclose(loss, policy_loss(params, x, weight), rtol=1e-5)
    expected = reference.numeric_gradients(lambda p: policy_loss(p, x, weight), params)
    reference.assert_gradients(found, expected)


def log_prob_of_rows(params, rows, x):
    """As lstm_log_prob, the inputs' embeddings [B, T, E] given, one sequence after another."""
    log_prob = []
    for row, sequence in zip(rows, x):
        table = np.concatenate([np.zeros([1, row.shape[1]]), row[1:], row[:1]])
        # Input t is token t of a vocabulary of the sequence's own; the outputs stay the model's.
        steps = reference.lstm_log_probs(
            [table, *params[1:]], np.arange(1, len(row) + 1)[None], start_token=len(row)
        )
        log_prob.append(steps[0, np.arange(len(row)), sequence])
    return np.array(log_prob)


def test_gradients_are_clipped_by_a_norm_that_counts_every_looked_up_row(params):
    # Many repeats of one token: rows counted apart and rows summed have very different norms.
    x, rewards = np.full((4, T), 2, np.int32), np.full((4, T), 3.0)
    expected = reference.numeric_gradients(lambda p: policy_loss(p, x, rewards), params)
    inputs = np.concatenate([np.zeros([len(x), 1], int), x[:, :-1]], axis=1)
    (rows,) = reference.numeric_gradients(
        lambda rows: -(rewards * log_prob_of_rows(params, rows[0], x)).sum(), [params[0][inputs]]
    )
    norm = np.sqrt((rows**2).sum() + sum((g**2).sum() for g in expected[1:]))
    for clip in (0.5, 2 * norm):
        generator = make_generator(grad_clip=clip)
        _, found, before = generator.gradients(tf.constant(x), tf.constant(rewards, tf.float32))
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


def test_the_two_updates_have_moments_of_their_own(params):
    x, rewards = some_tokens(4), np.ones((4, T))
    trained, fresh = make_generator(), make_generator()
    for _ in range(3):
        trained.pretrain_step(x[::-1].copy())
    trained.set_params(params)
    trained.reinforce_step(x, rewards)
    fresh.reinforce_step(x, rewards)
    reference.assert_same(trained.get_params(), fresh.get_params())


def test_probabilities_below_the_floor_count_as_the_floor_and_give_no_gradient(params):
    params[14][3] = -200.0
    generator, x = make_generator(params), np.full((2, T), 3, np.int32)
    np.testing.assert_allclose(generator.pretrain_step(x), -np.log(1e-20), rtol=1e-6)
    reference.assert_same(generator.get_params(), params)


def test_policy_gradient_is_that_of_the_expected_reward():
    # Enumerated: the gradient of sum_y p(y) R(y) is the mean over y of R(y) grad log p(y).
    y = reference.all_sequences(3, 2)
    reward = np.random.default_rng(4).random(len(y))
    params = reference.lstm_params(3, E, H)
    probability = np.exp(reference.lstm_log_prob(params, y).sum(1))

    def minus_expected_reward(p):  # what descent lowers
        return -(np.exp(reference.lstm_log_prob(p, y).sum(1)) * reward).sum()

    generator = Generator(3, E, H, 2, grad_clip=1e9)
    generator.set_params(params)
    weights = np.repeat((probability * reward)[:, None], 2, axis=1)
    _, found, _ = generator.gradients(tf.constant(y), tf.constant(weights, tf.float32))
    expected = reference.numeric_gradients(minus_expected_reward, params)
    reference.assert_gradients(found, expected)


BAD_TOKENS = {
    "negative": ([[0, 1, 2, 3, -1]], f"x: expected integers from 0 to {V - 1}, found -1"),
    "V": ([[0, 1, 2, 3, V]], f"x: expected integers from 0 to {V - 1}, found {V}"),
    "beyond int32": ([[0, 1, 2, 3, 2**32]], "x: expected integers from 0 to 6, found 4294967296"),
    "floats": (
        [[0.0, 1.0, 2.0, 3.0, 4.0]],
        "x: expected integers of shape (None, 5), found float64",
    ),
    "none": (np.zeros([0, T], int), "x: expected integers of shape (None, 5), found int64 (0, 5)"),
}
CALLS = {
    "log_prob": lambda generator, x: generator.log_prob(x),
    "pretrain_step": lambda generator, x: generator.pretrain_step(x),
    "reinforce_step": lambda generator, x: generator.reinforce_step(x, np.ones(np.shape(x))),
    "get_reward": lambda generator, x: Rollout(generator).get_reward(x, 2, lambda x: x),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_token_is_refused_and_the_next_right_call_is_as_the_first(call):
    generator, fresh, x = make_generator(), make_generator(), some_tokens(3)
    for bad, message in BAD_TOKENS.values():
        with pytest.raises(InputError) as error:
            CALLS[call](generator, bad)
        assert str(error.value).startswith(message)
    if call.endswith("step"):
        assert CALLS[call](generator, x) == CALLS[call](fresh, x)
        reference.assert_same(generator.get_params(), fresh.get_params())


@pytest.mark.parametrize("rewards", [np.ones([3, T - 1]), np.full([3, T], np.nan), np.ones(3)])
def test_rewards_that_do_not_fit_are_refused_and_change_nothing(params, rewards):
    generator = make_generator()
    with pytest.raises(InputError, match=r"rewards: expected (shape \(3, 5\)|finite)"):
        generator.reinforce_step(some_tokens(3), rewards)
    reference.assert_same(generator.get_params(), params)
