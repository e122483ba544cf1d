"""The LSTM, its sampler and the generator's two updates."""

import numpy as np
import pytest
import reference
import tensorflow as tf

from dataloader import InputError
from generator import LSTM, Generator
from rollout import Rollout

V, E, H, T = 7, 3, 4, 5


def make_generator(scale=1.0, **options):
    generator = Generator(V, E, H, T, **options)
    generator.set_params(reference.lstm_params(V, E, H, scale))
    return generator


def some_tokens(num, vocab_size=V, length=T, seed=1):
    return np.random.default_rng(seed).integers(0, vocab_size, (num, length), np.int32)


def test_log_prob_is_that_of_the_float64_lstm():
    generator, x = make_generator(), some_tokens(100)
    expected = reference.lstm_log_prob(generator.get_params(), x)
    np.testing.assert_allclose(generator.log_prob(x), expected, rtol=1e-5, atol=1e-6)


def test_start_token_is_the_first_input():
    params = reference.lstm_params(V, E, H)
    x = some_tokens(4)
    for start_token in (0, 3):
        expected = reference.lstm_log_prob(params, x, start_token)
        np.testing.assert_allclose(LSTM(params, T, start_token).log_prob(x), expected, rtol=1e-5)


def test_probabilities_of_all_sequences_sum_to_one():
    x = reference.all_sequences(4, 4)
    lstm = LSTM(reference.lstm_params(4, E, H), 4)
    total = np.exp(np.sum(lstm.log_prob(x), axis=1, dtype=np.float64)).sum()
    np.testing.assert_allclose(total, 1, rtol=1e-6)


def chi_square_bound(cells):
    """What a chi-square statistic of that many cells exceeds once in 30,000 (four deviations)."""
    return cells - 1 + 4 * np.sqrt(2 * (cells - 1)) + 8


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_sampler_draws_every_sequence_with_its_probability(scale):
    vocab_size, length, num = 4, 3, 40_000
    params = reference.lstm_params(vocab_size, E, H, scale)
    x = LSTM(params, length, seed=5).sample(num).numpy()
    cells = reference.all_sequences(vocab_size, length)
    expected = num * np.exp(reference.lstm_log_prob(params, cells).sum(1))
    observed = np.bincount(x @ [16, 4, 1], minlength=64)
    rare = expected < 5  # too few for the chi-square approximation: one cell together
    expected = np.append(expected[~rare], expected[rare].sum())
    observed = np.append(observed[~rare], observed[rare].sum())
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert statistic < chi_square_bound(len(expected))


def test_sampler_is_exact_over_a_large_vocabulary():
    vocab_size, num = 1003, 200_000
    params = reference.lstm_params(vocab_size, E, H)
    x = LSTM(params, 1, seed=6).sample(num).numpy()[:, 0]
    expected = num * np.exp(reference.lstm_log_probs(params, np.zeros([1, 1], int))[0, 0])
    observed = np.bincount(x, minlength=vocab_size)
    common = expected >= 5
    statistic = ((observed - expected) ** 2 / expected)[common].sum()
    assert statistic < chi_square_bound(common.sum())


def test_sampler_never_draws_what_has_no_probability():
    params = reference.lstm_params(V, E, H)
    params[14][[0, 3, 6]] = -1e4  # the first token, one in the middle, the last
    x = LSTM(params, T).sample(3000).numpy()
    assert set(np.unique(x)) == {1, 2, 4, 5}


def test_sampler_survives_logits_that_overflow_an_exponential():
    params = reference.lstm_params(V, E, H)
    params[14][2] = 1e4
    assert (LSTM(params, T).sample(100).numpy() == 2).all()


@pytest.mark.parametrize("num", [1, 64, 255, 1667])
def test_sample_has_the_size_asked_for_and_only_tokens(num):
    x = make_generator().sample(num).numpy()
    assert x.shape == (num, T) and x.min() >= 0 and x.max() < V


def test_sampling_follows_the_seed():
    params = reference.lstm_params(V, E, H)
    first, again, other = (LSTM(params, T, seed=s).sample(50).numpy() for s in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_initial_values_follow_the_seed_and_are_normal_with_deviation_one_tenth():
    params, again = (Generator(500, 8, 9, T, seed=3).get_params() for _ in range(2))
    values = np.concatenate([p.ravel() for p in params])
    for p, q in zip(params, again):
        np.testing.assert_array_equal(p, q)
    assert abs(values.mean()) < 0.1 * 4 / np.sqrt(len(values))
    assert abs(values.std() - 0.1) < 0.1 * 4 / np.sqrt(2 * len(values))
    assert all(p.std() > 0 for p in params)  # the biases are drawn, too


def test_params_come_back_as_they_were_set():
    params = reference.lstm_params(V, E, H, seed=9)
    generator = Generator(V, E, H, T)
    generator.set_params(params)
    for p, q in zip(generator.get_params(), params, strict=True):
        np.testing.assert_array_equal(p, q)


def test_params_of_a_wrong_shape_are_refused_by_name():
    params = reference.lstm_params(V, E, H)
    params[5] = params[5].T[:2]
    with pytest.raises(
        ValueError, match=r"array 5 \(Uf\): expected shape \[4, 4\], found \[2, 4\]"
    ):
        Generator(V, E, H, T).set_params(params)
    with pytest.raises(ValueError, match=r"expected 15 arrays.*found 14"):
        Generator(V, E, H, T).set_params(params[:14])


def mle_loss(params, x):
    return -reference.lstm_log_prob(params, x).mean()


def policy_loss(params, x, rewards):
    return -(rewards * reference.lstm_log_prob(params, x)).sum()


def test_losses_are_the_mean_nll_and_the_rewarded_sum():
    x, rewards = some_tokens(6), np.random.default_rng(2).random((6, T))
    generator = make_generator()
    params = generator.get_params()
    np.testing.assert_allclose(generator.pretrain_step(x), mle_loss(params, x), rtol=1e-5)
    generator = make_generator()
    loss = generator.reinforce_step(x, rewards)
    np.testing.assert_allclose(loss, policy_loss(params, x, rewards), rtol=1e-5)


def numeric_gradients(loss, params):
    """Gradients of loss(params) by central differences in float64."""
    params = [p.astype(np.float64) for p in params]
    gradients = [np.zeros_like(p) for p in params]
    for p, g in zip(params, gradients):
        for index in np.ndindex(p.shape):
            g[index] = reference.numeric_gradient(lambda: loss(params), p, index)
    return gradients


def embedding_row_gradients(loss, params, x):
    """Gradients of every looked-up row, [B, T, E]: each input gets an embedding of its own."""
    inputs = np.concatenate([np.zeros([len(x), 1], int), x[:, :-1]], 1)
    rows = params[0][inputs].astype(np.float64)
    out = np.zeros_like(rows)
    for index in np.ndindex(rows.shape):
        out[index] = reference.numeric_gradient(lambda: loss(rows), rows, index)
    return out


def lstm_log_prob_of_rows(params, rows, x):
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


def assert_gradients(found, expected):
    """Every gradient within a thousandth, entries near zero within that of the largest."""
    for name, (f, g) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(f, g, rtol=1e-3, atol=1e-4 * abs(g).max(), err_msg=str(name))


def as_held(gradients):
    """15 gradients in the order of the arrays -> the 5 in which the generator holds its weights."""
    gates = [gradients[k : k + 3] for k in (1, 4, 7, 10)]
    kernel = np.concatenate([np.concatenate([w, u]) for w, u, _ in gates], axis=1)
    return [gradients[0], kernel, np.concatenate([b for _, _, b in gates]), *gradients[13:]]


def test_gradients_are_numeric_ones_token_weights_of_any_sign_included():
    x, weight = some_tokens(4), np.random.default_rng(2).normal(size=(4, T))
    generator = make_generator(grad_clip=1e9)
    params = generator.get_params()
    loss, found = generator.gradients(
        tf.constant(x), tf.constant(weight, tf.float32), tf.constant(x)
    )
    np.testing.assert_allclose(loss, policy_loss(params, x, weight), rtol=1e-5)
    assert_gradients(found, as_held(numeric_gradients(lambda p: policy_loss(p, x, weight), params)))


def test_gradients_are_clipped_by_a_norm_that_counts_every_looked_up_row():
    # Many repeats of one token: rows counted apart and rows summed have very different norms.
    x, rewards = np.full((4, T), 2, np.int32), np.full((4, T), 3.0)
    params = reference.lstm_params(V, E, H)
    expected = as_held(numeric_gradients(lambda p: policy_loss(p, x, rewards), params))
    rows = embedding_row_gradients(
        lambda r: -(rewards * lstm_log_prob_of_rows(params, r, x)).sum(), params, x
    )
    norm = np.sqrt((rows**2).sum() + sum((g**2).sum() for g in expected[1:]))
    for clip in (0.5, 2 * norm):
        generator = make_generator(grad_clip=clip)
        _, found = generator.gradients(
            tf.constant(x), tf.constant(rewards, tf.float32), tf.constant(x)
        )
        assert_gradients(found, [g * min(1, clip / norm) for g in expected])


def test_embedding_rows_that_a_batch_does_not_touch_still_move_by_their_moments():
    generator = make_generator()
    first, second = np.full((2, T), 5, np.int32), np.full((2, T), 2, np.int32)
    generator.pretrain_step(first)
    between = generator.get_params()[0]
    generator.pretrain_step(second)
    moved = generator.get_params()[0][5] - between[5]
    params = [p.astype(np.float64) for p in reference.lstm_params(V, E, H)]
    row = [
        reference.numeric_gradient(lambda: mle_loss(params, first), params[0], (5, e))
        for e in range(E)
    ]
    one, two = (
        reference.adam(np.zeros(E), [np.array(row), 0 * np.array(row)][:n], 0.01) for n in (1, 2)
    )
    np.testing.assert_allclose(moved, two - one, rtol=0.01)
    assert (abs(moved) > 1e-4).all()


def test_adam_over_several_steps_follows_its_formula():
    # Only the output bias has a gradient that is known without differentiating: p - frequency.
    generator = make_generator(grad_clip=1e9)
    x = some_tokens(4)
    gradients, before = [], generator.get_params()[14]
    for _ in range(4):
        p = np.exp(reference.lstm_log_probs(generator.get_params(), x))
        gradients.append((p - np.eye(V)[x]).mean((0, 1)))
        generator.pretrain_step(x)
    expected = reference.adam(before, gradients, 0.01)
    np.testing.assert_allclose(generator.get_params()[14] - before, expected - before, rtol=1e-3)


def test_the_two_updates_have_moments_of_their_own():
    x, rewards = some_tokens(4), np.ones((4, T))
    trained, fresh = make_generator(), make_generator()
    for _ in range(3):
        trained.pretrain_step(x[::-1].copy())
    trained.set_params(fresh.get_params())
    trained.reinforce_step(x, rewards)
    fresh.reinforce_step(x, rewards)
    for p, q in zip(trained.get_params(), fresh.get_params()):
        np.testing.assert_array_equal(p, q)


def test_probabilities_below_the_floor_count_as_the_floor_and_give_no_gradient():
    params = reference.lstm_params(V, E, H)
    params[14][3] = -200.0
    generator = Generator(V, E, H, T)
    generator.set_params(params)
    x = np.full((2, T), 3, np.int32)
    np.testing.assert_allclose(generator.pretrain_step(x), -np.log(1e-20), rtol=1e-6)
    for p, q in zip(generator.get_params(), params):
        np.testing.assert_array_equal(p, q)


def test_policy_gradient_is_that_of_the_expected_reward():
    # Enumerated: the gradient of sum_y p(y) R(y) is the mean over y of R(y) grad log p(y).
    vocab_size, length = 3, 2
    y = reference.all_sequences(vocab_size, length)
    reward = np.random.default_rng(4).random(len(y))
    params = reference.lstm_params(vocab_size, E, H)

    def expected_reward(p):
        return (np.exp(reference.lstm_log_prob(p, y).sum(1)) * reward).sum()

    gradients = numeric_gradients(expected_reward, params)
    probability = np.exp(reference.lstm_log_prob(params, y).sum(1))
    generator = Generator(vocab_size, E, H, length, grad_clip=1e9)
    generator.set_params(params)
    weights = np.repeat((probability * reward)[:, None], length, 1)
    _, found = generator.gradients(tf.constant(y), tf.constant(weights, tf.float32), tf.constant(y))
    assert_gradients(found, as_held([-g for g in gradients]))  # descent on minus the reward


def joint(params, x, share):
    """Probability of every pair of tokens of a mix of x [2], [V, V], by the definition."""
    first = share * np.exp(reference.lstm_log_probs(params, np.zeros([1, 1], int))[0, 0])
    first[x[0]] += 1 - share
    rows = np.stack([np.arange(V), np.zeros(V, int)], 1)
    second = share * np.exp(reference.lstm_log_probs(params, rows)[:, 1])
    second[:, x[1]] += 1 - share
    return first[:, None] * second


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_own_tokens_have_their_share_and_follow_what_stands_before_them(share):
    num, x, params = 40_000, [3, 5], reference.lstm_params(V, E, H)
    generator = Generator(V, E, H, 2, seed=4)
    generator.set_params(params)
    mixed = generator.mix(np.tile(x, [num, 1]), share).numpy()
    expected = num * joint(params, x, share).ravel()
    observed = np.bincount(mixed @ [V, 1], minlength=V * V)
    common = expected >= 5
    statistic = ((observed - expected) ** 2 / expected)[common].sum()
    assert statistic < chi_square_bound(common.sum())


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_scheduled_sampling_feeds_the_mix_and_learns_the_true_tokens(share):
    x = some_tokens(64)
    generator, other = (make_generator(seed=3, grad_clip=1e9) for _ in range(2))
    params, fed = generator.get_params(), other.mix(x, share).numpy()  # the same draw
    assert (fed != x).mean() > 0.2
    steps = reference.lstm_log_probs(params, fed)
    expected = -np.take_along_axis(steps, x[..., None], 2).mean()
    np.testing.assert_allclose(generator.pretrain_step(x, share), expected, rtol=1e-5)


def test_gradients_are_those_of_the_true_tokens_after_the_fed_ones():
    x, fed, weight = some_tokens(3), some_tokens(3, seed=8), np.ones([3, T])
    generator = make_generator(grad_clip=1e9)

    def loss(params):
        return -np.take_along_axis(reference.lstm_log_probs(params, fed), x[..., None], 2).sum()

    _, found = generator.gradients(*map(tf.constant, (x, np.float32(weight), fed)))
    assert_gradients(found, as_held(numeric_gradients(loss, generator.get_params())))


def test_a_temperature_divides_the_logits():
    num, params = 40_000, reference.lstm_params(V, E, H)
    for temperature in (0.5, 2):
        x = LSTM(params, 2, seed=9).sample(num, temperature).numpy()
        cold = [*params[:13], params[13] / temperature, params[14] / temperature]
        cells = reference.all_sequences(V, 2)
        expected = num * np.exp(reference.lstm_log_prob(cold, cells).sum(1))
        observed = np.bincount(x @ [V, 1], minlength=V * V)
        common = expected >= 5
        statistic = ((observed - expected) ** 2 / expected)[common].sum()
        assert statistic < chi_square_bound(common.sum())


def test_nll_counts_up_to_the_first_end_and_with_it():
    params = reference.lstm_params(V, E, H)
    x = np.array([[1, 2, 0, 3, 0], [4, 4, 4, 4, 4], [0, 5, 5, 5, 5], [1, 2, 3, 4, 0]])
    expected = -reference.lstm_log_prob(params, x)
    counted = [(0, 3), (1, 5), (2, 1), (3, 5)]
    mean = np.concatenate([expected[row, :length] for row, length in counted]).mean()
    np.testing.assert_allclose(LSTM(params, T).nll(x, 0), mean, rtol=1e-6)
    np.testing.assert_allclose(LSTM(params, T).nll(x), expected.mean(), rtol=1e-6)


BAD_TOKENS = {
    "negative": ([[0, 1, 2, 3, -1]], f"x: expected integers from 0 to {V - 1}, found -1"),
    "V": ([[0, 1, 2, 3, V]], f"x: expected integers from 0 to {V - 1}, found {V}"),
    "beyond int32": ([[0, 1, 2, 3, 2**32]], "x: expected integers from 0 to 6, found 4294967296"),
    "floats": ([[0.0, 1.0, 2.0, 3.0, 4.0]], "x: expected integers (None, 5), found float64"),
    "NaN": ([[np.nan] * 5], "x: expected integers (None, 5), found float64"),
    "one sequence alone": ([0, 1, 2, 3, 4], "x: expected integers (None, 5), found int64 (5,)"),
    "too short": ([[0, 1, 2, 3]], "x: expected integers (None, 5), found int64 (1, 4)"),
    "none": (np.zeros([0, T], int), "x: expected integers (None, 5), found int64 (0, 5)"),
}
CALLS = {
    "log_prob": lambda generator, x: generator.log_prob(x),
    "nll": lambda generator, x: generator.nll(x),
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
        for p, q in zip(generator.get_params(), fresh.get_params()):
            np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("rewards", [np.ones([3, T - 1]), np.full([3, T], np.nan), np.ones(3)])
def test_rewards_that_do_not_fit_are_refused_and_change_nothing(rewards):
    generator, fresh, x = make_generator(), make_generator(), some_tokens(3)
    with pytest.raises(InputError, match=r"rewards: expected (shape \[3, 5\]|finite)"):
        generator.reinforce_step(x, rewards)
    for model in (generator, fresh):
        model.reinforce_step(x, np.ones([3, T]))
    for p, q, before in zip(
        generator.get_params(), fresh.get_params(), make_generator().get_params()
    ):
        np.testing.assert_array_equal(p, q)
        assert (p != before).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSTM(reference.lstm_params(V, E, H), T, start_token=V), "start_token: expected a"),
        (lambda: LSTM(reference.lstm_params(V, E, H), T, start_token=-1), "start_token: expected"),
        (lambda: LSTM(reference.lstm_params(V, E, H), T, seed=2**64), "seed: expected a whole num"),
        (
            lambda: LSTM(reference.lstm_params(V, E, H), T, seed=1.0),
            "seed: expected a whole number",
        ),
        (
            lambda: LSTM(reference.lstm_params(V, E, H), 0),
            "sequence_length: expected a whole number",
        ),
        (lambda: Generator(V, E, H, T, seed=1.5), "seed: expected a whole number from 0 to"),
        (
            lambda: make_generator().pretrain_step(some_tokens(2), 1.5),
            "own_share: expected a number",
        ),
        (lambda: make_generator().sample(0), "num: expected a whole number from 1 to"),
        (
            lambda: Rollout(make_generator(), 1.5),
            "update_rate: expected a number from 0 to 1, found",
        ),
        (
            lambda: Rollout(make_generator(), float("nan")),
            "update_rate: expected a number from 0 to",
        ),
        (
            lambda: Rollout(make_generator()).get_reward(some_tokens(1), 0, None),
            "rollout_num: expected a whole number from 1 to",
        ),
    ],
)
def test_numbers_out_of_bounds_are_refused_by_name(make, message):
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value).startswith(message)


def test_seeds_up_to_64_bits_are_streams_of_their_own():
    params = reference.lstm_params(V, E, H)
    drawn = {
        LSTM(params, T, seed=s).sample(9).numpy().tobytes() for s in (0, 2**32, 2**63, 2**64 - 1)
    }
    assert len(drawn) == 4
