import os
import tempfile

if "TF_XLA_FLAGS" not in os.environ:  # the many processes of the tests compile each thing once
    compiled = tempfile.TemporaryDirectory()
    os.environ["TF_XLA_FLAGS"] = f"--tf_xla_persistent_cache_directory={compiled.name}"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # several processes share a GPU

import experiment
import pytest
import tensorflow as tf

tf.config.experimental.enable_tensor_float_32_execution(False)  # as in sequence_gan.py


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with a finished small run, and what it printed on its two outputs."""
    folder = experiment.make(tmp_path_factory.mktemp("finished"))
    code, out, err = experiment.run(folder)
    assert code == 0, err
    return folder, out, err


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory):
    """A folder with a run killed in its last adversarial epoch."""
    folder = experiment.make(tmp_path_factory.mktemp("interrupted"))
    process = experiment.run_until(folder, lambda: experiment.log(folder).count("epoch:\t2") == 2)
    process.kill()
    process.communicate()
    return folder
