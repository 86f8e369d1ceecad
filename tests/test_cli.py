"""The commands as a user types them."""

import json

import numpy as np
import pytest

import zoo

QUICK = ("--steps", 3, "--batch-size", 8, "--set", "generator.width=8", "--set", "critic.width=8", "--quiet")


def test_the_real_command_succeeds_and_fails_without_a_traceback(zoo_process):
    assert "wgan-gp" in zoo_process("list", "variant").stdout
    assert "Did you mean wgan-gp" in zoo_process("train", "wgan-gpp", "--dataset", "ring", code=2).stderr


def test_help_names_every_command(zoo_command):
    output = zoo_command("--help").stdout
    for command in ("list", "search", "show", "train", "sample", "runs"):
        assert command in output
    assert "zoo train wgan-gp --dataset digits" in output


@pytest.mark.parametrize("command", ["list", "search", "show", "train", "sample", "runs"])
def test_every_command_has_examples(zoo_command, command):
    assert f"  zoo {command}" in zoo_command(command, "--help").stdout


def test_list_shows_names_by_hook(zoo_command):
    rows = json.loads(zoo_command("list", "--json").stdout)
    expected = {"hook": "variant", "name": "wgan-gp", "plugin": "zoo-wgan-gp", "version": "0.1.0"}
    assert expected in [{key: row[key] for key in expected} for row in rows]
    output = zoo_command("list", "variant", "wgan*").stdout
    assert "wgan-lp" in output
    assert "vanilla" not in output
    assert "lipschitz_constraint" in zoo_command("list", "lipschitz-constraint").stdout
    assert "gls-gan" in zoo_command("list", "gls*").stdout


def test_search_looks_in_the_catalogue(zoo_command):
    rows = {row["name"]: row for row in json.loads(zoo_command("search", "gradient", "penalty", "--json").stdout)}
    assert "zoo-vanilla" not in rows
    row = rows["zoo-wgan-gp"]
    assert row["provides"]["lipschitz_constraint"] == ["gradient-penalty"]
    assert row["installed"] == zoo.__version__


def test_show_tells_settings_and_recipes(zoo_command):
    (shown,) = json.loads(zoo_command("show", "gradient-penalty", "--json").stdout)
    weight = next(setting for setting in shown["settings"] if setting["name"] == "weight")
    assert (weight["type"], weight["default"], weight["range"]) == ("float", 10.0, ">= 0")
    assert "Wasserstein" in zoo_command("show", "wgan-gp").stdout
    both = json.loads(zoo_command("show", "dcgan", "--json").stdout)
    assert [shown["hook"] for shown in both] == ["critic", "generator"]


def test_show_keeps_the_two_ls_gans_apart(zoo_command):
    maos, qis = (zoo_command("show", name).stdout for name in ("lsgan", "ls-gan"))
    assert "Mao's least-squares GAN" in maos
    assert "Not Qi's loss-sensitive ls-gan" in maos
    assert 'name = "least-squares"' in maos
    assert "Qi's loss-sensitive GAN" in qis
    assert "Not the least-squares lsgan" in qis
    assert 'name = "loss-sensitive"' in qis
    near = zoo_command("show", "lsgam", code=2).stderr
    assert "lsgan (variant)" in near
    assert "ls-gan (variant)" in near


def test_train_sample_and_runs(zoo_command, tmp_path):
    outcome = json.loads(zoo_command("train", "wgan-gp", "--dataset", "digits", *QUICK, "--json").stdout)
    assert outcome["run"] == "runs/wgan-gp-digits-seed0"
    assert (outcome["state"], outcome["step"], outcome["estimates"]) == ("finished", 3, "W1")
    assert (tmp_path / outcome["picture"]).is_file()
    zoo_command("sample", outcome["run"], "-n", 10, "--out", "samples.npy", "--grid", "grid.png")
    samples = np.load(tmp_path / "samples.npy")
    assert samples.shape == (10, 1, 8, 8)
    assert abs(samples).max() <= 1
    assert (tmp_path / "grid.png").stat().st_size > 0
    report = json.loads(zoo_command("sample", outcome["run"], "-n", 4, "--out", "images", "--json").stdout)
    assert report["shape"] == [4, 1, 8, 8]
    assert len(list((tmp_path / "images").glob("*.png"))) == 4
    (row,) = json.loads(zoo_command("runs", "--json").stdout)
    assert (row["variant"], row["dataset"], row["step"], row["state"]) == ("wgan-gp", "digits", 3, "finished")
    extended = zoo_command("train", "--resume", outcome["run"], "--steps", 5, "--quiet").stdout
    assert "steps     5" in extended


def test_dry_run_prints_a_recipe_that_can_be_trained(zoo_command, tmp_path):
    printed = zoo_command("train", "ls-gan", "--dataset", "ring", *QUICK, "--dry-run", "--json").stdout
    recipe = json.loads(printed)["recipe"]
    assert recipe["lipschitz_constraint"][0]["sides"] == "one"
    assert not (tmp_path / "runs").exists()
    text = zoo_command("train", "ls-gan", "--dataset", "ring", *QUICK, "--dry-run").stdout
    (tmp_path / "mine.toml").write_text(text.split("\nNETWORK")[0])
    again = json.loads(zoo_command("train", "mine.toml", "--dry-run", "--json").stdout)["recipe"]
    assert again == recipe


def test_parts_by_name_without_a_variant(zoo_command):
    outcome = zoo_command(
        "train", "--generator", "mlp", "--critic", "mlp", "--distance", "wasserstein",
        "--lipschitz-constraint", "gradient-penalty", "--dataset", "gaussian-1d",
        "--set", "lipschitz_constraint.gradient-penalty.weight=0.5", *QUICK, "--json",
    )  # fmt: skip
    assert json.loads(outcome.stdout)["run"] == "runs/wasserstein-gaussian-1d-seed0"


def test_a_local_file_is_a_plugin_for_one_command(zoo_command, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom zoo import Distance, hookimpl\n\n"
        "class Moments(Distance):\n"
        "    def critic_loss(self, batch):\n        return batch.fake_scores.mean()\n"
        "    def generator_loss(self, batch):\n        return (batch.real - batch.fake).mean(0).square().sum()\n\n"
        "@hookimpl\ndef distance():\n    return {'moments': Moments}\n"
    )
    options = ("--generator", "mlp", "--critic", "none", "--distance", "moments", "--dataset", "ring")
    zoo_command("train", *options, "--plugin", "mine.py", "--steps", 3, "--quiet")
    zoo_command("sample", "runs/moments-ring-seed0", "--plugin", "mine.py", "--grid", "g.png")
    errors = zoo_command("sample", "runs/moments-ring-seed0", "--grid", "g.png", code=2).stderr
    assert "trained with a file of your own, mine.py; give it again: --plugin mine.py" in errors
    errors = zoo_command("train", *options, "--steps", 3, "--quiet", code=2).stderr
    assert "no distance is called 'moments'" in errors


def test_bf16_trains(zoo_command):
    outcome = zoo_command("train", "wgan-gp", "--dataset", "digits", *QUICK, "--precision", "bf16", "--json")
    assert json.loads(outcome.stdout)["state"] == "finished"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tran",), "no command is called 'tran'. Did you mean train"),
        (("list", "critics"), "Did you mean critic"),
        (("train", "wgan-gpp", "--dataset", "ring"), "Did you mean wgan-gp"),
        (("train", "wgan-gp"), "name one with --dataset"),
        (("train", "wgan-gp", "--dataset", "rong"), "no data set is called 'rong'. Did you mean ring"),
        (("train", "wgan-gp", "--dataset", "ring", "--critic", "dcgam"), "Did you mean dcgan"),
        (("train", "wgan-gp", "--dataset", "ring", "--critic", "dcgan"), "use mlp"),
        (("train", "wgan-gp", "--dataset", "ring", "--set", "critic.widht=3"), "Did you mean width"),
        (("train", "wgan-gp", "--dataset", "ring", "--set", "critic.width=wide"), "must be a int, not 'wide'"),
        (("train", "wgan-gp", "--dataset", "ring", "--set", "critic.width=0"), "must be at least 1"),
        (("train", "wgan-gp", "--dataset", "ring", "--set", "width=0"), "axis.setting=value"),
        (("train", "wgan-gp", "--dataset", "ring", "--set", "train.optimizer.lrr=1"), "Did you mean lr"),
        (("train", "wgan-gp", "--dataset", "ring", "--set", "train.optimizer.name='Adan'"), "Did you mean Adam"),
        (("train", "wgan-gp", "--dataset", "ring", "--set", "train.optimizer.lr=-1"), "refuses its settings"),
        (("train", "wgan-gp", "--dataset", "ring", "--steps", "0"), "train.steps must be at least 1"),
        (("train", "wgan-gp", "--dataset", "ring", "--device", "cuda:77"), "--device cpu"),
        (("train", "wgan-gp", "--dataset", "ring", "--device", "gpu"), "'gpu' is not a device"),
        (
            ("train", "wgan-gp", "--dataset", "digits", "--batch-size", "5000"),
            "use --batch-size 1797",
        ),
        (("train", "wgan-gp", "--dataset", "image-folder:nowhere"), "nowhere"),
        (("train", "wgan-gp", "--dataset", "digits", "--set", "dataset.side=300"), "side"),
        (("train", "wgan-gp", "--dataset", "digits", "--backbone", "timm"), "stands on"),
        (("train", "wgan-gp", "--dataset", "digits", "--critic", "backbone-heads"), "--backbone"),
        (("train", "--dataset", "ring", "--generator", "mlp"), "distance"),
        (("train", "--dataset", "ring", "--generator", "mlp", "--distance", "wasserstein"), "name one with --critic"),
        (("train", "wgan-gp", "--dataset", "ring", "--plugin", "none.py"), "no plugin file 'none.py'"),
        (("train", "none.toml"), "none.toml cannot be read"),
        (("train", "--resume", "runs/none"), "is no run folder"),
        (("train", "--resume", "runs/none", "--seed", "3"), "--seed cannot be given"),
        (("sample", "runs/none", "--grid", "x.png"), "is no run folder"),
        (("sample", "runs/none"), "say where the samples go"),
        (("runs", "nowhere"), "no folder 'nowhere'"),
        (("train", "--no-such-option"), "No such option"),
        (("train", "wgan", "--dataset", "ring", "--name", "a/b"), "one folder in runs"),
        (("train", "wgan", "--dataset", "ring", "--set", "train.optimizers=3"), "must be a table by phase"),
        (("train", "vanilla", "--dataset", "ring", "--set", "train.optimizer.betas=[0.5]"), "refuses its settings"),
        (("train", "vanilla", "--dataset", "ring", "--set", "train.optimizer.name=SparseAdam"), "no optimiser"),
        (("train", "wgan", "--dataset", "ring", "--set", "generator.name=3"), "replace the part with --generator"),
        (("train", "wgan", "--dataset", "ring", "--set", "parts.enc.width=3"), "no name of a component"),
        (
            ("train", "vanilla", "--dataset", "ring", "--batch-size", "1", "--set", "generator.norm=batch"),
            "the parts fail on 1 samples",
        ),
        (("train", "--resume", "runs/none", "--seed", "0"), "--seed cannot be given"),
        (("train", "--resume", "runs/none", "wgan"), "variant cannot be given"),
    ],
)
def test_misuse_is_a_clear_error_with_exit_code_2(zoo_command, tmp_path, arguments, words):
    assert words in zoo_command(*arguments, code=2).stderr
    assert not (tmp_path / "runs").exists()


def test_a_batch_normalised_critic_under_a_penalty_is_refused_unless_allowed(zoo_command):
    options = ("train", "wgan-gp", "--dataset", "digits", *QUICK, "--set", "critic.norm=batch")
    errors = zoo_command(*options, code=2).stderr
    assert "depends on the other samples of its batch" in errors
    assert "critic.norm = 'none'" in errors
    zoo_command(*options, "--allow-incompatible")


def test_an_existing_run_is_refused(zoo_command, tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "notes.txt").write_text("keep")
    options = ("train", "wgan-gp", "--dataset", "ring", *QUICK, "--name", "mine")
    assert "runs/mine exists" in zoo_command(*options, code=2).stderr
    assert (tmp_path / "runs" / "mine" / "notes.txt").read_text() == "keep"


def test_variants_are_listed_with_what_they_are(zoo_command):
    rows = {row["name"]: row["summary"] for row in json.loads(zoo_command("list", "--json").stdout)}
    assert "stable with almost any network" in rows["wgan-gp"]
    assert rows["gradient-penalty"] is None
    said = zoo_command("list", "variant", "wgan-gp").stdout
    assert "Wasserstein GAN with a gradient penalty" in said


def test_search_knows_what_installed_variants_are_for(zoo_command):
    said = zoo_command("search", "pairs", "of", "images").stdout
    assert "zoo-translation" in said
    assert "pix2pix" in said.split("VARIANT")[1]
    assert "infogan" not in said
    assert "cgan" in zoo_command("search", "labels").stdout  # its summary says label
    assert "sngan" in zoo_command("search", "spectral", "normalization").stdout  # which it spells with an s


def test_search_shows_what_matches_most_if_nothing_matches_all(zoo_command):
    found = zoo_command("search", "nosuch", "gradient", "penalty")
    assert "No plugin matches all of these words; what matches most:" in found.stderr
    assert "zoo-wgan-gp" in found.stdout
    assert "zoo-networks" not in found.stdout
    assert json.loads(zoo_command("search", "nosuch", "gradient", "--json").stdout) == []
    nothing = zoo_command("search", "nosuch")
    assert (nothing.stdout, "zoo list variant" in nothing.stderr) == ("", True)


def test_a_variant_is_shown_before_components_of_its_name(zoo_command):
    assert zoo_command("show", "r3gan").stdout.startswith("variant r3gan")
