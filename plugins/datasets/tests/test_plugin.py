import subprocess
import sys
from importlib.metadata import distribution

import pytest
import zoo_datasets

from zoo import BadData, Dataset

USERS = {"array", "image-folder", "paired-folder", "torchvision", "unpaired-folder"}


def test_the_metadata_declare_what_the_hook_returns():
    declared = {e.name: e.value for e in distribution("zoo-datasets").entry_points if e.group == "zoo.v1.dataset"}
    assert declared == dict.fromkeys(zoo_datasets.dataset(), "zoo_datasets")


@pytest.mark.parametrize("name", sorted(set(zoo_datasets.dataset()) - USERS))
def test_the_defaults_give_a_data_set(name):
    data = zoo_datasets.dataset()[name]()
    assert isinstance(data, Dataset)
    assert all(isinstance(length, int) for length in data.shape)


@pytest.mark.parametrize("name", sorted(USERS))
def test_the_users_own_data_need_to_be_named_and_the_message_says_how(name):
    with pytest.raises(BadData, match=f"--dataset {name}:"):
        zoo_datasets.dataset()[name]()


def test_a_density_does_not_pay_for_the_other_data_sets():
    code = (
        "import sys, zoo_datasets; zoo_datasets.dataset()['ring']();"
        "print({'sklearn', 'skimage', 'scipy', 'torchvision', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
