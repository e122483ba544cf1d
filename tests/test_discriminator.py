"""The CNN, its loss and its training step."""

import numpy as np
import pytest
import reference
import tensorflow as tf

from dataloader import InputError
from discriminator import Discriminator

V, E, T = 12, 5, 6
SIZES, COUNTS = [1, 2, 4, 6], [3, 4, 2, 3]


def make_discriminator(seed=0, **options):
    options = {"dropout_keep_prob": 1.0, "learning_rate": 1e-3} | options
    return Discriminator(T, V, E, SIZES, COUNTS, seed=seed, **options)


def some_batch(num, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(0, V, (num, T)), rng.integers(0, 2, num)


def test_prob_real_is_that_of_the_float64_cnn():
    discriminator, (x, _) = make_discriminator(), some_batch(700)
    logits = reference.discriminator_logits(discriminator.get_params(), SIZES, x)
    expected = reference.softmax(logits)[:, 1]
    np.testing.assert_allclose(discriminator.prob_real(x), expected, rtol=1e-5)


def test_prob_real_has_no_dropout():
    x, _ = some_batch(20)
    full, dropping = make_discriminator(), make_discriminator(dropout_keep_prob=0.5)
    np.testing.assert_array_equal(full.prob_real(x), dropping.prob_real(x))


def test_loss_is_the_cross_entropy_and_the_output_layer_s_penalty():
    x, y = some_batch(20)
    for l2 in (0.0, 0.2):
        discriminator = make_discriminator(l2_reg_lambda=l2)
        params = discriminator.get_params()
        expected = reference.discriminator_loss(params, SIZES, x, y, l2)
        np.testing.assert_allclose(discriminator.train_step(x, y), expected, rtol=1e-5)


def numeric_gradients(params, x, y):
    params = [p.astype(np.float64) for p in params]
    gradients = [np.zeros_like(p) for p in params]
    for p, g in zip(params, gradients):
        for index in np.ndindex(p.shape):
            g[index] = reference.numeric_gradient(
                lambda: reference.discriminator_loss(params, SIZES, x, y, 0.2), p, index, 1e-6
            )
    return gradients


def test_gradients_are_numeric_ones_of_every_filter_matrix_and_bias():
    # Tokens repeat within a sequence, so that several positions share the maximum over time.
    x = np.array([[3, 3, 3, 3, 1, 1], [2, 7, 2, 7, 2, 7], [5, 6, 8, 9, 0, 4]], np.int32)
    y = np.array([1, 0, 1], np.int32)
    discriminator = make_discriminator()
    _, found = discriminator.gradients(tf.constant(x), tf.constant(y))
    expected = numeric_gradients(discriminator.get_params(), x, y)
    for name, f, g in zip(discriminator.params, found, expected, strict=True):
        f = tf.convert_to_tensor(f)
        np.testing.assert_allclose(f, g, rtol=1e-3, atol=1e-4 * abs(g).max(), err_msg=name)
        assert (g != 0).any(), name


def test_training_is_adam():
    # The output bias, whose gradient is known: the mean of p - y, and its penalty.
    discriminator, (x, y) = make_discriminator(), some_batch(20)
    gradients, before = [], discriminator.get_params()[-1]
    for _ in range(4):
        params = discriminator.get_params()
        p = reference.softmax(reference.discriminator_logits(params, SIZES, x))
        gradients.append((p - np.eye(2)[y]).mean(0) + 0.2 * params[-1])
        discriminator.train_step(x, y)
    expected = reference.adam(before, gradients, 1e-3)
    np.testing.assert_allclose(
        discriminator.get_params()[-1] - before, expected - before, rtol=1e-3
    )


def test_embedding_rows_that_a_batch_does_not_touch_still_move_by_their_moments():
    discriminator = make_discriminator()
    x = np.full((2, T), 3)
    gradient = numeric_gradients(discriminator.get_params(), x, [1, 0])[0][3]
    discriminator.train_step(x, [1, 0])
    between = discriminator.get_params()[0]
    discriminator.train_step(np.full((2, T), 8), [1, 0])
    moved = (discriminator.get_params()[0] - between)[3]
    once, twice = (reference.adam(np.zeros(E), [gradient, 0 * gradient][:n], 1e-3) for n in (1, 2))
    np.testing.assert_allclose(moved, twice - once, rtol=0.02, atol=2e-7)


def test_dropout_keeps_each_feature_with_its_probability_and_scales_what_it_keeps():
    # With only the output layer's part of one feature left, the loss tells whether it was kept.
    discriminator = make_discriminator(dropout_keep_prob=0.75, l2_reg_lambda=0.0, learning_rate=0.0)
    params = [np.zeros_like(p) for p in discriminator.get_params()]
    params[2][:] = 1.0  # every response of the first filters is their bias, 1
    params[-3][:] = -100.0  # the gate is shut: the highway layer carries the features
    params[-2][0] = [0.0, 3.0]
    discriminator.set_params(params)
    x, num = np.zeros([1, T], int), 2000
    losses = np.array([discriminator.train_step(x, [1]) for _ in range(num)])
    kept = np.isclose(losses, np.log1p(np.exp(-3 / 0.75)), rtol=1e-4)
    dropped = np.isclose(losses, np.log(2), rtol=1e-4)
    assert (kept | dropped).all()
    assert abs(kept.mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / num)


def test_initial_values_have_their_distributions():
    discriminator = Discriminator(20, 400, 30, [2, 3], [40, 60], seed=4)
    embedding, w2, b2, w3, b3, lin, lin_bias, gate, gate_bias, w_out, b_out = (
        discriminator.get_params()
    )
    for values, limit in [
        (embedding, 1.0),
        *[(v, np.sqrt(6 / 200)) for v in (lin, lin_bias, gate, gate_bias)],
    ]:
        spread = limit / np.sqrt(3)
        assert abs(values).max() <= limit < 1.1 * abs(values).max()
        assert abs(values.mean()) < 4 * spread / np.sqrt(values.size)
    # A normal distribution cut at two deviations has 0.8796 of its deviation left.
    for values in (w2, w3, w_out):
        assert 0.17 < abs(values).max() <= 0.2
        assert abs(values.std() - 0.08796) < 4 * 0.08796 / np.sqrt(2 * values.size)
    for values in (b2, b3, b_out):
        np.testing.assert_array_equal(values, np.float32(0.1))


def test_same_seed_same_training_other_seed_other():
    x, y = some_batch(30)
    results = []
    for seed in (1, 1, 2):
        discriminator = make_discriminator(seed, dropout_keep_prob=0.5)
        losses = [float(discriminator.train_step(x, y)) for _ in range(5)]
        results.append(losses + discriminator.prob_real(x).numpy().tolist())
    assert results[0] == results[1] != results[2]


def test_params_come_back_as_they_were_set():
    params = make_discriminator(seed=7).get_params()
    discriminator = make_discriminator()
    discriminator.set_params(params)
    for p, q in zip(discriminator.get_params(), params, strict=True):
        np.testing.assert_array_equal(p, q)


def test_params_of_a_wrong_shape_are_refused_by_name():
    discriminator = make_discriminator()
    params = discriminator.get_params()
    params[3] = params[3][0]
    expected = r"array 3 \(conv-maxpool-2/W\): expected shape \[2, 5, 1, 4\], found \[5, 1, 4\]"
    with pytest.raises(ValueError, match=expected):
        discriminator.set_params(params)


BAD_BATCHES = {
    "labels too many": (some_batch(2)[0], [0, 1, 1], "y: expected integers (2,), found int64 (3,)"),
    "labels of floats": (some_batch(2)[0], [0.0, 1.0], "y: expected integers (2,), found float64"),
    "labels beyond 1": (some_batch(2)[0], [0, 2], "y: expected integers from 0 to 1, found 2"),
    "tokens beyond V": (
        np.full([2, T], V),
        [0, 1],
        f"x: expected integers from 0 to {V - 1}, found",
    ),
    "tokens too few": (some_batch(2)[0][:, 1:], [0, 1], "x: expected integers (None, 6), found"),
}


@pytest.mark.parametrize("kind", BAD_BATCHES)
def test_a_first_batch_that_does_not_fit_is_refused_and_the_next_one_trains(kind):
    x, y, message = BAD_BATCHES[kind]
    discriminator, fresh = make_discriminator(), make_discriminator()
    with pytest.raises(InputError) as error:
        discriminator.train_step(x, y)
    assert str(error.value).startswith(message)
    if message.startswith("x"):
        with pytest.raises(InputError):
            discriminator.prob_real(x)
    assert discriminator.train_step(*some_batch(5)) == fresh.train_step(*some_batch(5))
    for p, q, before in zip(
        *(m.get_params() for m in (discriminator, fresh, make_discriminator()))
    ):
        np.testing.assert_array_equal(p, q)
        assert (p != before).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"filter_sizes": [1, 7]},
            "filter_sizes, each number: expected a whole number from 1 to 6, found 7",
        ),
        ({"num_filters": [3, 0]}, "num_filters, each number: expected a whole number from 1 to"),
        (
            {"num_filters": [3]},
            "expected a number for each of filter_sizes=[1, 2], found [3]",
        ),
        ({"filter_sizes": [1, 1]}, "expected a number for each of filter_sizes=[1, 1], found"),
        ({"filter_sizes": [], "num_filters": []}, "expected a number for each of filter_sizes=[]"),
        ({"dropout_keep_prob": 0}, "dropout_keep_prob: expected a number from 1e-06 to 1, found 0"),
        ({"seed": 2**64}, "seed: expected a whole number from 0 to"),
    ],
)
def test_a_discriminator_that_cannot_be_is_refused_by_name(arguments, message):
    sizes = {"sequence_length": T, "vocab_size": V, "embedding_dim": E}
    with pytest.raises(InputError) as error:
        Discriminator(**sizes | {"filter_sizes": [1, 2], "num_filters": [3, 4]} | arguments)
    assert str(error.value).startswith(message)
