"""Monte Carlo search: what it keeps, what it averages, and whose weights it uses."""

import numpy as np
import pytest
import reference

from generator import Generator
from rollout import Rollout

V, E, H, T = 4, 3, 5, 4


def make_generator(vocab_size=V, length=T, seed=0):
    generator = Generator(vocab_size, E, H, length, seed=seed)
    generator.set_params(reference.lstm_params(vocab_size, E, H, seed=seed))
    return generator


def some_tokens(num, seed=1):
    return np.random.default_rng(seed).integers(0, V, (num, T), np.int32)


def score_recording(calls, result=lambda x: np.zeros(len(x), np.float32)):
    def score(x):
        calls.append(np.array(x))
        return result(np.asarray(x))

    return score


def test_every_prefix_has_its_number_of_rollouts():
    x, rollout_num, calls = some_tokens(6), 3, []
    Rollout(make_generator()).get_reward(x, rollout_num, score_recording(calls))
    scored = np.concatenate(calls)
    assert len(scored) == rollout_num * (T - 1) * len(x) + len(x)
    assert scored.min() >= 0 and scored.max() < V


def test_a_rollout_keeps_its_prefix():
    x = some_tokens(8)
    place = V ** np.arange(T)[::-1]
    for t in range(T):
        # The score is the number that the first t + 1 tokens spell, so is their mean.
        def score(rows, t=t):
            return np.float32(np.asarray(rows)[:, : t + 1] @ place[-t - 1 :])

        rewards = Rollout(make_generator()).get_reward(x, 5, score)
        expected = x[:, : t + 1] @ place[-t - 1 :]
        np.testing.assert_allclose(rewards[:, t:], np.repeat(expected[:, None], T - t, 1))


def test_the_last_column_is_the_finished_sequence_s_own_score():
    x = some_tokens(8)
    table = np.random.default_rng(3).random([V] * T, np.float32)
    rewards = Rollout(make_generator()).get_reward(x, 2, lambda r: table[tuple(np.asarray(r).T)])
    np.testing.assert_array_equal(rewards[:, -1], table[tuple(x.T)])


def expected_rewards(params, x, table):
    """Exact mean score over all completions of each prefix, [B, T]."""
    y = reference.all_sequences(V, T)
    probability = np.exp(reference.lstm_log_prob(params, y))
    rewards = np.empty(x.shape)
    for b, t in np.ndindex(*x.shape):
        same = (y[:, : t + 1] == x[b, : t + 1]).all(1)
        rewards[b, t] = (probability[same, t + 1 :].prod(1) * table[tuple(y[same].T)]).sum()
    return rewards


@pytest.mark.parametrize("rate", [0.0, 0.8])
def test_rewards_are_expectations_under_the_rollout_policy(rate):
    x, num = some_tokens(2), 4000
    table = np.random.default_rng(3).random([V] * T, np.float32)
    generator, other = make_generator(), reference.lstm_params(V, E, H, seed=5)
    old = generator.get_params()
    rollout = Rollout(generator, rate)

    def check(policy):
        rewards = rollout.get_reward(x, num, lambda r: table[tuple(np.asarray(r).T)])
        # Scores lie in 0..1: a mean of num has a deviation below 0.5 / sqrt(num).
        exact = expected_rewards(policy, x, table)
        np.testing.assert_allclose(rewards, exact, atol=4 * 0.5 / np.sqrt(num))

    check(old)
    generator.set_params(other)
    check(other if rate == 0 else old)  # present weights at rate 0, lagging ones otherwise
    rollout.update_params()
    mixed = [rate * p + (1 - rate) * q for p, q in zip(old, other)]
    check([other[0], *mixed[1:]])  # the embeddings are copied


def test_lagging_weights_move_by_the_rate_and_embeddings_are_copied():
    generator, other = make_generator(), reference.lstm_params(V, E, H, seed=5)
    old = generator.get_params()
    rollout = Rollout(generator, 0.8)
    generator.set_params(other)
    rollout.update_params()
    rollout.update_params()
    expected = [0.64 * p + 0.36 * q for p, q in zip(old, other)]
    expected[0] = other[0]
    for p, q in zip(rollout.policy.get_params(), expected):
        np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-6)


def test_rewards_follow_the_seed_and_leave_the_generator_as_it_was():
    x, results = some_tokens(5), []
    table = np.random.default_rng(3).random([V] * T, np.float32)
    for _ in range(2):
        generator = make_generator()
        before = generator.get_params()
        rollout = Rollout(generator)
        first, second = (
            rollout.get_reward(x, 3, lambda r: table[tuple(np.asarray(r).T)]).numpy()
            for _ in range(2)
        )
        assert (first != second).any()  # fresh completions every time
        results.append((first, second))
        for p, q in zip(before, generator.get_params()):
            np.testing.assert_array_equal(p, q)
    np.testing.assert_array_equal(results[0], results[1])
