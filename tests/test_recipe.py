"""Recipes: parsed, layered, changed by single settings, and written back to the same."""

import tomllib

import pytest
import tomli_w

from zoo.api import compose_table
from zoo.errors import BadRecipe, UnknownName, UsageError
from zoo.layering import assign, for_kinds, layered, parse_assignment
from zoo.plugins import installed
from zoo.recipe import Choice, Recipe, normalized, read_table
from zoo.resolve import Components

FULL = """
variant = "wgan-gp"
dataset = { name = "digits" }
generator = { name = "dcgan", width = 64 }
critic = { name = "dcgan", width = 64, norm = "none" }
distance = "wasserstein"
lipschitz_constraint = [{ name = "gradient-penalty", weight = 10.0, constant = 1.0 }]

[train]
steps = 4000
optimizer = { name = "Adam", lr = 1e-4, betas = [0.0, 0.9] }
"""


def test_a_recipe_round_trips_through_toml():
    recipe = Recipe.of(normalized(tomllib.loads(FULL)))
    again = Recipe.of(normalized(tomllib.loads(tomli_w.dumps(recipe.table()))))
    assert again == recipe
    assert recipe.axes["generator"] == Choice("dcgan", {"width": 64})
    assert recipe.constraints[0].settings["weight"] == 10.0


@pytest.mark.parametrize(
    ("written", "table"),
    [
        ("mlp", {"name": "mlp"}),
        ("timm:resnet18", {"name": "timm", "": "resnet18"}),
        ("image-folder:a:b/c", {"name": "image-folder", "": "a:b/c"}),
        ("none", {}),
        ({"name": "timm:resnet18", "freeze": "all"}, {"name": "timm", "": "resnet18", "freeze": "all"}),
    ],
)
def test_a_choice_is_a_name_a_name_with_a_value_or_a_table(written, table):
    assert normalized({"backbone": written})["backbone"] == table


def test_the_same_name_keeps_settings_and_another_name_drops_them():
    beneath = normalized({"critic": {"name": "dcgan", "width": 64}})
    assert layered([beneath, normalized({"critic": {"width": 32}})])["critic"] == {"name": "dcgan", "width": 32}
    assert layered([beneath, normalized({"critic": "dcgan"})])["critic"] == {"name": "dcgan", "width": 64}
    assert layered([beneath, normalized({"critic": "mlp"})])["critic"] == {"name": "mlp"}
    assert layered([beneath, normalized({"critic": "none"})])["critic"] == {}


def test_constraints_are_replaced_as_a_list():
    beneath = normalized({"lipschitz_constraint": ["a", "b"]})
    assert layered([beneath, normalized({"lipschitz_constraint": "none"})])["lipschitz_constraint"] == []
    assert layered([beneath, normalized({"lipschitz_constraint": ["c"]})])["lipschitz_constraint"] == [{"name": "c"}]


def test_an_optimizer_merges_as_a_choice_and_single_phases_on_their_own():
    beneath = {"train": {"optimizer": {"name": "Adam", "lr": 1e-4, "betas": [0.0, 0.9]}}}
    above = {"train": {"optimizer": {"lr": 1e-3}, "optimizers": {"critic": {"lr": 4e-4}}}}
    train = layered([beneath, above])["train"]
    assert train["optimizer"] == {"name": "Adam", "lr": 1e-3, "betas": [0.0, 0.9]}
    assert train["optimizers"] == {"critic": {"lr": 4e-4}}
    assert layered([beneath, above, {"train": {"optimizers": {}}}])["train"]["optimizers"] == {}
    assert layered([beneath, {"train": {"optimizer": "SGD"}}])["train"]["optimizer"] == {"name": "SGD"}


def test_defaults_for_a_kind_of_data_lie_over_the_common_ones():
    special = {"vector": {"generator": "mlp"}, "tiny-image": {"generator": {"width": 8}}}
    table = normalized({"generator": "dcgan", "for": special})
    assert layered(for_kinds(table, ["vector"]))["generator"] == {"name": "mlp"}
    assert layered(for_kinds(table, ["image"]))["generator"] == {"name": "dcgan"}
    assert layered(for_kinds(table, ["image", "tiny-image"]))["generator"] == {"name": "dcgan", "width": 8}


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("generator.width=64", ["generator", "width"], 64),
        ("train.optimizer.lr=1e-3", ["train", "optimizer", "lr"], 1e-3),
        ("critic.norm=layer", ["critic", "norm"], "layer"),
        ("critic.norm='layer'", ["critic", "norm"], "layer"),
        ("critic.stages=[1, 2]", ["critic", "stages"], [1, 2]),
        ("dataset.path=a=b.png", ["dataset", "path"], "a=b.png"),
        ("generator.bias=true", ["generator", "bias"], True),
    ],
)
def test_assignments_are_toml_or_text(text, path, value):
    assert parse_assignment(text) == (path, value)


@pytest.mark.parametrize("text", ["width=3", "generator.width", "generator.=3", "=3"])
def test_assignments_of_another_form_are_refused(text):
    with pytest.raises(UsageError, match="axis.setting=value"):
        parse_assignment(text)


def test_one_of_several_constraints_is_addressed_by_name():
    table = normalized({"lipschitz_constraint": ["a", {"name": "b", "weight": 1.0}]})
    changed = assign(table, ["lipschitz_constraint", "b", "weight"], 2.0)
    assert changed["lipschitz_constraint"] == [{"name": "a"}, {"name": "b", "weight": 2.0}]
    with pytest.raises(UnknownName, match="gradient-penalti"):
        assign(table, ["lipschitz_constraint", "gradient-penalti", "weight"], 2.0)
    with pytest.raises(BadRecipe, match="NAME.setting"):
        assign(table, ["lipschitz_constraint", "weight"], 2.0)


def test_settings_of_an_axis_that_the_recipe_has_not_are_refused():
    with pytest.raises(BadRecipe, match="no backbone; name one with --backbone"):
        assign({}, ["backbone", "freeze"], "all")
    with pytest.raises(UnknownName, match="no axis is called 'genrator'.*generator"):
        assign({}, ["genrator", "width"], 1)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"genrator": "mlp"}, "Did you mean generator"),
        ({"generator": 3}, "generator must be a name or a table"),
        ({"generator": {"name": 3}}, "generator.name must be a string"),
        ({"lipschitz_constraint": [{"weight": 1}]}, "each constraint needs a name"),
        ({"lipschitz_constraint": ["a", "a"]}, "named twice"),
        ({"train": 3}, "train must be a table"),
        ({"for": {"imgae": {}}}, "Did you mean image"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_place(table, words):
    with pytest.raises(BadRecipe if "mean" not in words else UnknownName, match=words):
        normalized(table)


def test_a_recipe_file_that_is_missing_or_no_toml_is_named_with_the_line(tmp_path):
    with pytest.raises(BadRecipe, match=r"none.toml cannot be read"):
        read_table(tmp_path / "none.toml")
    file = tmp_path / "bad.toml"
    file.write_text("generator = 'mlp'\ncritic = = 3\n")
    with pytest.raises(BadRecipe, match=r"bad.toml is not TOML.*line 2"):
        read_table(file)


def test_a_value_behind_a_colon_is_heard_over_what_a_variant_says_and_under_what_is_set_later():
    table = {"variant": "projected-gan", "dataset": "digits", "backbone": "timm:test_resnet"}
    components = Components(installed())
    assert components.recipe(normalized(table))[0].axes["backbone"].settings["model"] == "test_resnet"
    changed = [(["backbone", "model"], "resnet18")]
    assert components.recipe(normalized(table), changed)[0].axes["backbone"].settings["model"] == "resnet18"


def test_an_empty_table_of_optimizers_stays_empty_where_the_written_recipe_is_read_again():
    table = normalized({"variant": "gan-r1", "dataset": "ring", "train": {"optimizers": {}}})
    written = compose_table(table, device="cpu").recipe.table()
    assert compose_table(normalized(written), device="cpu").training.optimizers == {}
    with_own = compose_table(normalized({**table, "train": {}}), device="cpu")
    assert with_own.training.optimizers.keys() == {"critic"}
