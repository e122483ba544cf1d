"""The CNN, its loss and its training step."""

import numpy as np
import pytest
import reference
import tensorflow as tf

from discriminator import Discriminator, check_discriminator

V, E, T = 12, 5, 6
SIZES, COUNTS = [1, 2, 4, 6], [3, 4, 2, 3]


def make_discriminator(seed=0, **options):
    options = {"dropout_keep_prob": 1.0, "learning_rate": 1e-3} | options
    return Discriminator(T, V, E, SIZES, COUNTS, seed=seed, **options)


def some_batch(num, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(0, V, (num, T)), rng.integers(0, 2, num)


def train_step(discriminator, x, y):
    return float(discriminator.train_steps([x], [y])[0])


def test_prob_real_is_that_of_the_float64_cnn():
    discriminator, (x, _) = make_discriminator(dropout_keep_prob=0.5), some_batch(700)
    logits = reference.discriminator_logits(reference.params_of(discriminator), SIZES, x)
    expected = reference.softmax(logits)[:, 1]
    np.testing.assert_allclose(discriminator.prob_real(x), expected, rtol=1e-5)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_loss_and_gradients_are_those_of_cross_entropy_and_the_output_layer_s_penalty(l2):
    # Tokens repeat within a sequence, so that several positions share the maximum over time.
    x = np.array([[3, 3, 3, 3, 1, 1], [2, 7, 2, 7, 2, 7], [5, 6, 8, 9, 0, 4]], np.int32)
    y = np.array([1, 0, 1], np.int32)
    discriminator = make_discriminator(l2_reg_lambda=l2)
    kept = tf.ones([3, sum(COUNTS)], bool)
    loss, found = discriminator.gradients(tf.constant(x), tf.constant(y), kept)
    params = reference.params_of(discriminator)
    np.testing.assert_allclose(
        loss, reference.discriminator_loss(params, SIZES, x, y, l2), rtol=1e-5
    )
    expected = reference.numeric_gradients(
        lambda p: reference.discriminator_loss(p, SIZES, x, y, l2), params, step=1e-6
    )
    reference.assert_gradients(found, expected)
    assert all((g != 0).any() for g in expected)
    np.testing.assert_allclose(train_step(discriminator, x, y), loss, rtol=1e-5)


def test_dropout_keeps_each_feature_with_its_probability_and_scales_what_it_keeps():
    # With only the output layer's part of one feature left, the loss tells whether it was kept.
    discriminator = make_discriminator(dropout_keep_prob=0.75, l2_reg_lambda=0.0, learning_rate=0.0)
    params = [np.zeros_like(p) for p in reference.params_of(discriminator)]
    params[2][:] = 1.0  # every response of the first filters is their bias, 1
    params[-3][:] = -100.0  # the gate is shut: the highway layer carries the features
    params[-2][0] = [0.0, 3.0]
    reference.set_params(discriminator, params)
    num = 2000
    losses = discriminator.train_steps(np.zeros([num, 1, T], int), np.ones([num, 1], int)).numpy()
    kept = np.isclose(losses, np.log1p(np.exp(-3 / 0.75)), rtol=1e-4)
    dropped = np.isclose(losses, np.log(2), rtol=1e-4)
    assert (kept | dropped).all()
    assert abs(kept.mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / num)


def test_dropout_is_drawn_anew_for_each_feature_and_each_sequence(monkeypatch):
    discriminator, masks = make_discriminator(dropout_keep_prob=0.5), []
    monkeypatch.setattr(discriminator, "_train_steps", lambda x, y, kept: masks.append(kept))
    for _ in range(2):
        discriminator.train_steps(np.zeros([3, 400, T], int), np.ones([3, 400], int))
    kept = np.float64(masks).reshape(2 * 3 * 400, sum(COUNTS))
    assert abs(np.corrcoef(kept.T) - np.eye(sum(COUNTS))).max() < 4.5 / np.sqrt(len(kept))
    for shift in (1, 400, 1200):  # the next sequence, batch and call
        assert abs(np.mean(kept[shift:] == kept[:-shift]) - 0.5) < 4.5 / np.sqrt(4 * kept.size / 2)


def test_the_steps_as_compiled_for_a_gpu_are_the_steps():
    sizes = {"sequence_length": 20, "vocab_size": 500, "embedding_dim": 16, "seed": 3}
    sizes |= {"filter_sizes": [1, 2, 5, 20], "num_filters": [40, 40, 30, 30]}
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 500, (3, 64, 20)), rng.integers(0, 2, (3, 64))
    plain, compiled = Discriminator(**sizes), Discriminator(**sizes)
    for name in ("_train_steps", "_prob_real"):
        step = getattr(Discriminator, name).python_function.__get__(compiled)
        setattr(compiled, name, tf.function(step, jit_compile=True, reduce_retracing=True))
    both = plain, compiled
    for num in (3, 2):  # the last call of an epoch may have fewer batches
        losses = [each.train_steps(x[:num], y[:num]) for each in both]
        np.testing.assert_allclose(*losses, rtol=1e-6)
    np.testing.assert_allclose(*(each.prob_real(x[0]) for each in both), rtol=1e-5)


def test_initial_values_have_their_distributions():
    discriminator = Discriminator(20, 400, 30, [2, 3], [40, 60], seed=4)
    values = reference.params_of(discriminator)
    embedding, w2, b2, w3, b3, lin, lin_bias, gate, gate_bias, w_out, b_out = values
    highway = [(value, np.sqrt(6 / 200)) for value in (lin, lin_bias, gate, gate_bias)]
    for values, limit in [(embedding, 1.0), *highway]:
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
        losses = [train_step(discriminator, x, y) for _ in range(5)]
        results.append(losses + discriminator.prob_real(x).numpy().tolist())
    assert results[0] == results[1] != results[2]


BAD_ARGUMENTS = [
    ({"sequence_length": 0}, "sequence_length: expected a whole number from 1"),
    ({"vocab_size": 1}, "vocab_size: expected a whole number from 2"),
    ({"embedding_dim": 0}, "embedding_dim: expected a whole number from 1"),
    ({"filter_sizes": [1, 7]}, "filter_sizes: expected integers from 1 to 6, found 7"),
    ({"filter_sizes": [2, 2]}, "filter_sizes: expected different ones, found [2, 2]"),
    ({"filter_sizes": []}, "filter_sizes: expected integers of shape (None,), found"),
    ({"filter_sizes": 3}, "filter_sizes: expected integers of shape (None,), found"),
    ({"num_filters": [1, 0]}, "num_filters: expected integers from 1 to"),
    ({"num_filters": [1]}, "num_filters: expected integers of shape (2,), found int64 (1,)"),
    ({"dropout_keep_prob": 0.0}, "dropout_keep_prob: expected a number from 1e-06 to 1"),
    ({"l2_reg_lambda": -0.1}, "l2_reg_lambda: expected a number from 0"),
    ({"learning_rate": 2}, "learning_rate: expected a number from 0 to 1"),
    ({"seed": -1}, "seed: expected a whole number from 0"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    fit = {"sequence_length": T, "vocab_size": V, "embedding_dim": E}
    fit |= {"filter_sizes": [1, 2], "num_filters": [3, 3]}
    reference.assert_refused(lambda: Discriminator(**fit | arguments), message)


def keras_network(dropout=0.5, build=True, listed=lambda variables: variables, rate=1e-6):
    """A discriminator of Keras layers; `listed` is what its state() names of its variables."""
    import keras

    layers = keras.layers
    first = layers.Embedding(V, 8), layers.Flatten(), layers.Dropout(dropout)
    net = keras.Sequential([*first, layers.Dense(1, "sigmoid")])
    net.compile(keras.optimizers.Adam(rate), "binary_crossentropy")
    if build:
        net.build([None, T])
        net.optimizer.build(net.trainable_variables)

    class Network:
        def state(self):
            variables = listed(net.variables + net.optimizer.variables)
            return {str(n): variable for n, variable in enumerate(variables)}

        def prob_real(self, x):
            return net(x)[:, 0]

        def train_steps(self, x, y):
            return [net.train_on_batch(*batch) for batch in zip(x, y)]

    return Network


def test_a_discriminator_of_one_s_own_is_accepted_if_it_can_be_resumed_and_left_as_it_was():
    x = some_batch(4)[0]
    for discriminator in (make_discriminator(), keras_network()()):
        before = [v.numpy() for v in discriminator.state().values()]
        check_discriminator(discriminator, x)
        reference.assert_same(before, [v.numpy() for v in discriminator.state().values()])


class ColumnOfProbabilities(keras_network()):
    def prob_real(self, x):
        return super().prob_real(x)[:, None]


class OneLoss(keras_network()):
    def train_steps(self, x, y):
        return super().train_steps(x, y)[0]


class NumpyNoise(keras_network()):
    def train_steps(self, x, y):
        return super().train_steps(np.random.default_rng().permuted(x, axis=1), y)


class Logits(keras_network()):
    def prob_real(self, x):
        return super().prob_real(x) - 2


class ListOfState(keras_network()):
    def state(self):
        return list(super().state().values())


def without_seeds(variables):
    return [variable for variable in variables if "seed" not in variable.path]


LACKS = "discriminator: its state() lacks something that a step changes"
REFUSED = {
    "no methods": (object, "discriminator: expected a method prob_real(), found none"),
    "[N, 1]": (ColumnOfProbabilities, "prob_real(x): expected shape (4,), found (4, 1)"),
    "logits": (Logits, "prob_real(x): expected probabilities, found [-1."),
    "a list": (ListOfState, "discriminator: expected state() to return {name: variable}"),
    "one loss": (OneLoss, "train_steps(x, y): expected shape (2,), found ()"),
    "unbuilt": (keras_network(build=False), "discriminator: these are made by the first step only"),
    "no moments": (keras_network(0.0, listed=lambda v: v[:3]), LACKS),
    "no weights": (keras_network(0.0, listed=lambda v: v[3:]), LACKS),
    "no moments at a large rate": (keras_network(0.0, listed=lambda v: v[:3], rate=0.1), LACKS),
    "no number of steps": (keras_network(0.0, listed=lambda v: v[:3] + v[4:]), LACKS),
    "no random state": (keras_network(listed=without_seeds), LACKS),
    "NumPy's random state": (NumpyNoise, LACKS),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_discriminator_that_could_not_be_resumed_is_refused(kind):
    make, message = REFUSED[kind]
    reference.assert_refused(lambda: check_discriminator(make(), some_batch(4)[0]), message)


TWO = some_batch(2)[0]
BAD_BATCHES = [
    (TWO, [0, 1, 1], "y: expected integers of shape (1, 2), found int64"),
    (TWO, [0.0, 1.0], "y: expected integers of shape (1, 2), found float"),
    (TWO, [0, 2], "y: expected integers from 0 to 1, found 2"),
    (np.full([2, T], V), [0, 1], "x: expected integers from 0 to 11, found 12"),
    (TWO[:, 1:], [0, 1], "x: expected integers of shape (None, None, 6)"),
]


def test_batches_that_do_not_fit_are_refused_and_the_next_one_trains():
    discriminator, fresh = make_discriminator(), make_discriminator()
    for x, y, message in BAD_BATCHES:
        reference.assert_refused(lambda x=x, y=y: train_step(discriminator, x, y), message)
    for x, message in ((BAD_BATCHES[3][0], BAD_BATCHES[3][2]), ([[0]], "x: expected integers of")):
        reference.assert_refused(lambda x=x: discriminator.prob_real(x), message)
    assert train_step(discriminator, *some_batch(5)) == train_step(fresh, *some_batch(5))
    reference.assert_same(reference.params_of(discriminator), reference.params_of(fresh))
