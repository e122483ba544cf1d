"""Monte Carlo search: what it keeps, what it averages, whose weights it uses."""

import numpy as np
import pytest
import reference

from generator import Generator
from rollout import Rollout

V, E, H, T = 4, 3, 5, 4
X = np.random.default_rng(1).integers(0, V, (2, T), np.int32)


def make_generator():
    generator = Generator(V, E, H, T)
    generator.set_params(reference.lstm_params(V, E, H))
    return generator


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
    x, num = X, 4000
    table = np.random.default_rng(3).random([V] * T, np.float32)
    generator, other = make_generator(), reference.lstm_params(V, E, H, seed=5)
    old = generator.get_params()
    rollout = Rollout(generator, rate)

    def check(policy):
        rewards, again = (
            rollout.get_reward(x, num, lambda r: table[tuple(np.asarray(r).T)]) for _ in "ab"
        )
        # Scores lie in 0..1: a mean of num has a deviation below 0.5 / sqrt(num).
        exact = expected_rewards(policy, x, table)
        np.testing.assert_allclose(rewards, exact, atol=4 * 0.5 / np.sqrt(num))
        assert (rewards != again).any()  # fresh completions every time

    check(old)
    generator.set_params(other)
    check(other if rate == 0 else old)  # present weights at rate 0, lagging ones otherwise
    rollout.update_params()
    mixed = [rate * p + (1 - rate) * q for p, q in zip(old, other)]
    check([other[0], *mixed[1:]])  # the embeddings are copied
    rollout.reset()
    check(other)


def test_a_lagging_policy_keeps_the_generator_s_start_token_and_words():
    words = "<end> <unknown> a b".split()
    policy = Rollout(Generator(V, E, H, T, start_token=2, words=words), 0.8).policy
    assert (policy.start_token, policy.words) == (2, words)


@pytest.mark.parametrize(("shape", "other"), [((6, 1), (6,)), ((6,), (2,))])
def test_scores_of_another_shape_are_refused(shape, other):  # the second at the last position alone
    rollout = Rollout(make_generator())
    message = f"the score of x: expected shape {other}, found {shape}"
    reference.assert_refused(lambda: rollout.get_reward(X, 3, lambda x: np.ones(shape)), message)
