"""The LSTM, its sampler and the generator's two updates."""

import numpy as np
import pytest
import reference
import tensorflow as tf

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


def make_lstm(**options):
    return LSTM(**{"params": reference.lstm_params(V, E, H), "sequence_length": T} | options)


def make_fresh(**options):
    sizes = {"vocab_size": V, "emb_dim": E, "hidden_dim": H, "sequence_length": T}
    return Generator(**sizes | options)


NAN = float("nan")
BAD_CALLS = [
    (lambda: make_lstm(sequence_length=0), "sequence_length: expected a whole number from 1"),
    (lambda: make_lstm(start_token=V), "start_token: expected a whole number from 0 to 6, found 7"),
    (lambda: make_lstm(seed=-1), "seed: expected a whole number from 0"),
    (lambda: make_lstm(words=["a"]), "words: expected 7 of them, found (1,)"),
    (lambda: make_lstm(params=reference.lstm_params(V, E, H)[:14]), "params: expected 15 arrays"),
    (lambda: make_fresh(vocab_size=1), "vocab_size: expected a whole number from 2"),
    (lambda: make_fresh(emb_dim=0), "emb_dim: expected a whole number from 1"),
    (lambda: make_fresh(hidden_dim=2.0), "hidden_dim: expected a whole number from 1"),
    (lambda: make_fresh(learning_rate=-1), "learning_rate: expected a number from 0 to 1"),
    (lambda: make_fresh(seed=-1), "seed: expected a whole number from 0"),
    (lambda: make_fresh(grad_clip=NAN), "grad_clip: expected a number from 1e-30"),
    (lambda: make_lstm().drawing_by(-1).__enter__(), "seed: expected a whole number from 0"),
    (lambda: make_lstm().sample(0), "num: expected a whole number from 1"),
    (lambda: make_lstm().sample(1, [1] * 6), "prefix_length: expected a whole number"),
    (lambda: make_lstm().sample(1, None), "prefix: expected integers of shape (None,), found obj"),
    (lambda: make_lstm().sample(1, [V]), "prefix: expected integers from 0 to 6, found 7"),
    (lambda: make_lstm().sample(1, temperature=0), "temperature: expected a number from 1e-06"),
    (lambda: make_lstm().sample(1, temperature=NAN), "temperature: expected a number from 1e-06"),
    (lambda: make_lstm().complete(some_tokens(2), T + 1), "given: expected a whole number from 0"),
    (lambda: make_lstm().complete(some_tokens(2), 1.5), "given: expected a whole number from 0"),
    (lambda: make_lstm().complete([[V] * T], 1), "x: expected integers from 0 to 6, found 7"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_arguments_that_do_not_fit_are_named(call, message):
    reference.assert_refused(call, message)


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
    params[5] = params[5].T[:2]
    for other, message in (
        (params[:14], "params: expected the 15 arrays ['embeddings', 'Wi', "),
        (params, "params, for VOCAB_SIZE, EMB_DIM, HIDDEN_DIM = (7, 3, 4): Uf: expected shape"),
    ):
        reference.assert_refused(lambda other=other: generator.set_params(other), message)


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


BAD_TOKENS = [
    ([[0, 1, 2, 3, -1]], "x: expected integers from 0 to 6, found -1"),
    ([[0, 1, 2, 3, V]], "x: expected integers from 0 to 6, found 7"),
    ([[0, 1, 2, 3, 2**32]], "x: expected integers from 0 to 6, found 4294967296"),
    ([[0.0, 1.0, 2.0, 3.0, 4.0]], "x: expected integers of shape (None, 5), found float64"),
    ([[0, 1, 2, 3, 4], [1]], "x: expected rows of one length, found several"),
    (np.zeros([0, T], int), "x: expected integers of shape (None, 5), found int64 (0, 5)"),
]
CALLS = {
    "log_prob": lambda generator, x: generator.log_prob(x),
    "pretrain_step": lambda generator, x: generator.pretrain_step(x),
    "reinforce_step": lambda generator, x: generator.reinforce_step(x, np.ones([3, T])),
    "get_reward": lambda generator, x: Rollout(generator).get_reward(x, 2, lambda x: x),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_token_is_refused_and_the_next_right_call_is_as_the_first(name):
    call, generator, fresh, x = CALLS[name], make_generator(), make_generator(), some_tokens(3)
    for bad, message in BAD_TOKENS:
        reference.assert_refused(lambda bad=bad: call(generator, bad), message)
    if name.endswith("step"):
        assert call(generator, x) == call(fresh, x)
        reference.assert_same(generator.get_params(), fresh.get_params())


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (np.ones([3, T - 1]), "rewards: expected shape"),
        (np.full([3, T], np.nan), "rewards: expected finite"),
        ([[1.0], [1.0, 1.0]], "rewards: expected rows of one length"),
    ],
)
def test_rewards_that_do_not_fit_are_refused_and_change_nothing(params, rewards, message):
    generator = make_generator()
    reference.assert_refused(lambda: generator.reinforce_step(some_tokens(3), rewards), message)
    reference.assert_same(generator.get_params(), params)
