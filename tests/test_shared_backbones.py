"""Critics on backbones: what is said of random weights, and of metrics that look through the critic's own eyes."""

import json
from dataclasses import replace

import pytest
import timm
import torch

import zoo
from zoo import Evidence, Metric
from zoo.comparing.plan import Request, plan
from zoo.comparing.results import Budget, Comparison, Contender, Scale
from zoo.comparing.verdict import verdict
from zoo.measuring import backbone_of, evidence_of, flattery

GAN = {
    "variant": "projected-gan",
    "generator": {"name": "dcgan", "width": 4},
    "critic": {"name": "projected", "width": 2},
    "backbone": {"name": "timm", "model": "test_resnet", "out": [1, 2]},
}
QUICK = {"steps": 1, "batch_size": 8, "device": "cpu", "dataset": "digits"}


def trained(out, name="gan", **more):
    return zoo.train(**{**GAN, **QUICK, **more}, out=out, name=name)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs"))


def test_a_critic_on_random_weights_is_remarked_on_when_it_is_first_trained_and_then_no_more(tmp_path, capsys):
    first = trained(tmp_path)
    assert capsys.readouterr().err.count("zoo: the critic stands on a backbone with random weights") == 1
    zoo.resume(first.folder.path, steps=2, device="cpu")
    assert "random" not in capsys.readouterr().err
    trained(tmp_path, "second", init_from=str(first.folder.path))
    assert "random" not in capsys.readouterr().err
    trained(tmp_path, "other", critic={"name": "backbone-heads"})  # It trains the backbone.
    assert "random" not in capsys.readouterr().err


def test_a_backbone_of_a_file_is_not_random(tmp_path, capsys):
    assert zoo.create("backbone", "timm", shape=(1, 32, 32), model="test_resnet").random
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pth")
    trained(tmp_path, backbone={**GAN["backbone"], "checkpoint": str(tmp_path / "w.pth")})
    assert "random" not in capsys.readouterr().err


class Looks(Metric):
    """A metric that looks through a backbone."""

    figures = {"looks": "lower"}  # noqa: RUF012

    def __init__(self, model):
        self.model = model

    def flatters(self, evidence):
        return evidence.backbone["model"] == self.model

    def measure(self, evidence):
        return {"looks": 0.0}


def test_what_a_run_stands_on_is_known_to_metrics_and_said_of_those_that_share_it(run, tmp_path):
    found = evidence_of(run, 16)
    assert found.backbone["name"] == "timm"
    assert found.backbone["model"] == "test_resnet"
    (said,) = flattery({"ours": Looks("test_resnet"), "other": Looks("test_vit")}, found)
    assert "the network that ours measures by (the backbone timm)" in said
    assert found.between(found.real, found.real).backbone == found.backbone
    plain = zoo.train("vanilla", **QUICK, generator={"width": 4}, critic={"width": 4}, out=tmp_path, name="plain")
    assert backbone_of(plain.composition) is None
    assert flattery({"ours": Looks("test_resnet")}, evidence_of(plain, 16)) == []


@pytest.mark.parametrize(
    ("features", "model", "flatters"),
    [
        ("timm:test_resnet", "test_resnet", True),
        ("timm:test_resnet", "test_resnet.r160_in1k", True),
        ("timm:test_resnet.r160_in1k", "test_resnet", True),
        ("timm:test_vit", "test_resnet", False),
        ("inception", "inception_v3.tf_in1k", True),
        ("inception", "inception_v4", False),
        ("pixels", "", False),
        ("classifier", "test_resnet", False),
    ],
)
@pytest.mark.parametrize("metric", ["frechet", "kid", "prdc"])
def test_features_flatter_where_the_critic_stands_on_their_model(metric, features, model, flatters):
    found = Evidence((3, 32, 32), None, 8, None, None, backbone={"name": "timm", "model": model})
    measure = zoo.create("metric", metric, features=features)
    assert measure.flatters(found) is flatters
    assert not measure.flatters(replace(found, backbone={"name": "mine", "model": model}))
    assert not measure.flatters(replace(found, backbone=None))


def test_evaluate_warns_of_shared_features_and_of_no_others(run, zoo_command):
    shared = "--metric", "frechet:timm:test_resnet", "--set", "frechet.pretrained=false"
    done = zoo_command("evaluate", run.folder.path, *shared, "-n", 32, "--floors", 0, "--json")
    assert done.stderr.count("Warning: the critic was trained on features of the network that frechet:timm") == 1
    assert "Measure with other features too" in done.stderr
    assert [each["name"] for each in json.loads(done.stdout)] == ["frechet"]
    other = zoo_command("evaluate", run.folder.path, "--metric", "frechet:pixels", "-n", 32, "--floors", 0)
    assert "Warning" not in other.stderr


def test_a_comparison_says_which_contender_is_flattered(tmp_path, monkeypatch):
    monkeypatch.setattr(Metric, "flatters", lambda self, evidence: evidence.backbone["model"] == "test_resnet")
    recipe = tmp_path / "projected.toml"
    recipe.write_text(
        'variant = "projected-gan"\ngenerator = { width = 4 }\ncritic = { width = 2 }\n'
        'backbone = { model = "test_resnet", out = [1, 2] }\n'
    )
    said = []
    request = Request(
        contenders=(str(recipe), "vanilla"), dataset="digits", seeds=1, steps=1, metrics=("energy",), samples=16,
        device="cpu", networks="own",
    )  # fmt: skip
    made = plan(request, said.append).comparison
    (note,) = made.notes
    assert note.startswith("projected: the critic was trained on features of the network that energy measures by")
    assert [text for text in said if note in text] == [f"Warning: {note}"]


def test_the_verdict_ends_with_the_notes_and_they_are_kept():
    contenders = (Contender("a", {}, 1, 1), Contender("b", {}, 1, 1))
    scales = {"gap": Scale("gap", "gap", "lower")}
    comparison = Comparison("digits", Budget("steps", 1), (0,), contenders, scales, 16, notes=("a: it is flattered.",))
    assert verdict(comparison).endswith("a: it is flattered.")
    table = json.loads(json.dumps(comparison, default=vars))
    assert Comparison.parse(table) == comparison
    del table["notes"]
    assert Comparison.parse(table).notes == ()
