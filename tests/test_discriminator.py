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


def test_prob_real_is_that_of_the_float64_cnn():
    discriminator, (x, _) = make_discriminator(dropout_keep_prob=0.5), some_batch(700)
    logits = reference.discriminator_logits(reference.params_of(discriminator), SIZES, x)
    expected = reference.softmax(logits)[:, 1]
    np.testing.assert_allclose(discriminator.prob_real(x), expected, rtol=1e-5)


def loss_of(params, x, y, l2, scale):
    return reference.discriminator_loss(params, SIZES, x, y, l2, scale)


def test_loss_and_gradients_are_those_of_cross_entropy_dropout_and_the_output_layer_s_penalty():
    # Tokens repeat within a sequence, so that several positions share the maximum over time.
    x = np.array([[3, 3, 3, 3, 1, 1], [2, 7, 2, 7, 2, 7], [5, 6, 8, 9, 0, 4]], np.int32)
    y, kept = np.array([1, 0, 1], np.int32), np.ones([3, sum(COUNTS)], bool)
    kept[0, ::3] = kept[1, ::4] = False
    model = make_discriminator(l2_reg_lambda=0.3, dropout_keep_prob=0.75, learning_rate=0.0)
    params = reference.params_of(model)
    _, found = model.gradients(*map(tf.constant, (x, y, kept)))
    expected = reference.numeric_gradients(loss_of, params, x, y, 0.3, kept / 0.75)
    reference.assert_gradients(found, expected)
    assert all((g != 0).any() for g in expected)
    batches = np.stack([x, x]), np.stack([y, y]), np.stack([kept, ~kept])
    for l2, keep in ((0.3, 0.75), (0.7, 0.5)):  # assigned, they act on what is compiled
        model.l2_reg_lambda.assign(l2)
        model.dropout_keep_prob.assign(keep)
        losses = model._train_steps(*map(tf.constant, batches))
        expected = [loss_of(params, x, y, l2, mask / keep) for mask in batches[2]]
        np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_dropout_is_drawn_anew_for_each_feature_and_each_sequence(monkeypatch):
    discriminator, masks = make_discriminator(dropout_keep_prob=0.75), []
    monkeypatch.setattr(discriminator, "_train_steps", lambda x, y, kept: masks.append(kept))
    for _ in range(2):
        discriminator.train_steps(np.zeros([3, 400, T], int), np.ones([3, 400], int))
    kept = np.float64(masks).reshape(2 * 3 * 400, sum(COUNTS))
    assert abs(kept.mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / kept.size)
    assert abs(np.corrcoef(kept.T) - np.eye(sum(COUNTS))).max() < 4.5 / np.sqrt(len(kept))
    same = 0.75**2 + 0.25**2
    for shift in (1, 400, 1200):  # the next sequence, batch and call
        deviation = np.sqrt(same * (1 - same) / (kept.size / 2))
        assert abs(np.mean(kept[shift:] == kept[:-shift]) - same) < 4.5 * deviation


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
        np.testing.assert_allclose(*losses, rtol=1e-5)
    np.testing.assert_allclose(*(each.prob_real(x[0]) for each in both), rtol=1e-5)


def test_initial_values_have_their_distributions():
    sizes = 20, 400, 30, [2, 3], [40, 60]
    values, other = (reference.params_of(Discriminator(*sizes, seed=seed)) for seed in (4, 5))
    assert (values[0] != other[0]).any()
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


class Array:
    """A variable of NumPy, as README.md says that one of another library can be."""

    def __init__(self, value):
        self.value = value

    def numpy(self):
        return self.value

    def assign(self, value):
        self.value = value


class Mine:
    """A discriminator of one's own: a weight for each token, moved less with each step."""

    def __init__(self):
        self.weights, self.steps = Array(np.linspace(-1, 1, V)), Array(np.array(0))

    def state(self):
        return {"weights": self.weights, "steps": self.steps}

    def prob_real(self, x):
        return reference.sigmoid(self.weights.value[x].mean(1))

    def train_steps(self, x, y):
        for tokens, label in zip(x.reshape(-1, T), y.ravel()):
            self.steps.value += 1
            np.add.at(self.weights.value, tokens, 1e-6 * (label - 0.5) / self.steps.value)
        return np.ones(len(x))


def test_a_discriminator_that_can_be_resumed_is_accepted_and_left_as_it_was():
    for discriminator in (make_discriminator(dropout_keep_prob=0.5), Mine()):
        before = [np.array(v.numpy()) for v in discriminator.state().values()]
        check_discriminator(discriminator, some_batch(4)[0])
        reference.assert_same(before, [v.numpy() for v in discriminator.state().values()])


def shuffled(self, x, y):
    return Mine.train_steps(self, np.random.default_rng().permuted(x, axis=1), y)


def refit(self, x, y):
    """Forget all and fit anew to each batch: the same steps do the same, whatever came before."""
    self.weights.value[:] = np.mean(x)
    return np.zeros(len(x))


def grows(self, x, y):
    self.weights = Array(np.ones(2 * V))
    return np.ones(len(x))


class Forgets(Array):
    def assign(self, value):
        self.value = value + 1


def holding(variable):
    return {"state": lambda self: {"w": variable}}


LACKS = "discriminator: its state() lacks something that a step changes"
VARIABLE = "discriminator: state()['w']: expected numpy() and assign(array) of a variable, "
REFUSED = [  # what is other than in Mine, and the refusal
    ({"prob_real": None}, "discriminator: expected a method prob_real(), found none"),
    ({"prob_real": lambda self, x: np.ones([4, 1])}, "prob_real(x): expected shape (4,), found"),
    ({"prob_real": lambda self, x: np.ones(4) - 2}, "prob_real(x): expected probabilities"),
    ({"state": lambda self: [self.weights]}, "discriminator: expected state() to return {"),
    ({"train_steps": lambda self, x, y: 0.5}, "train_steps(x, y): expected shape (2,), found ()"),
    ({"train_steps": grows}, "discriminator: a step makes these, or changes their kind: ['weights"),
    ({"state": lambda self: {"weights": self.weights}}, LACKS),
    ({"train_steps": shuffled}, LACKS),  # by chance, which no state() has
    ({"train_steps": refit, "state": lambda self: {}}, LACKS),
    (holding(np.ones(2)), f"{VARIABLE}found: 'numpy.ndarray' object has no attribute 'numpy'"),
    (holding(Array([1.0])), f"{VARIABLE}found: numpy() returns no array of numbers but [1.0]"),
    (holding(Forgets(np.ones(2))), f"{VARIABLE}found: numpy() is not what assign() was given"),
]


@pytest.mark.parametrize(("other", "message"), REFUSED)
def test_a_discriminator_that_could_not_be_resumed_is_refused(other, message):
    changed = type("Changed", (Mine,), other)()
    reference.assert_refused(lambda: check_discriminator(changed, some_batch(4)[0]), message)


def test_each_variable_that_state_lacks_is_noticed():
    x = np.arange(80).reshape(4, 20)
    for rate in (1e-4, 1e-6):
        model = Discriminator(20, 5000, 64, [1, 2, 5], [50, 50, 50], learning_rate=rate)
        whole = model.state()
        for name in whole.keys() - {"adam/learning_rate", "dropout", "l2"}:  # a user changes these
            part = {other: variable for other, variable in whole.items() if other != name}
            vars(model)["state"] = lambda part=part: part
            reference.assert_refused(lambda model=model: check_discriminator(model, x), LACKS)


TWO = some_batch(2)[0]
BAD_CALLS = [
    (lambda d: Discriminator(T, V, E, [1, 7], [3, 3]), "filter_sizes: expected a whole number"),
    (lambda d: Discriminator(T, V, E, [2, 2], [3, 3]), "filter_sizes: expected different ones"),
    (lambda d: d.train_steps([TWO], [[0, 1, 1]]), "y: expected integers of shape (1, 2), found"),
    (lambda d: d.train_steps([TWO + V], [[0, 1]]), "x: expected integers from 0 to 11, found"),
    (lambda d: d.prob_real([[0]]), "x: expected integers of shape (None, 6)"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_arguments_that_do_not_fit_are_named(call, message):
    reference.assert_refused(lambda: call(make_discriminator()), message)
