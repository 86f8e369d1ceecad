"""A run that diverges: it stops with its last good checkpoint named, or goes back and on with lower rates."""

import sys
from pathlib import Path

import pytest
import torch

import zoo
from zoo.api import compose_table
from zoo.errors import Diverged
from zoo.folder import Folder
from zoo.history import History
from zoo.processes import Agreement
from zoo.recipe import normalized
from zoo.spikes import FEWEST, Spikes
from zoo.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from short_runs import NARROW, QUICK, without_times

BREAKING = Path(__file__).parent / "breaking.py"


class Bursts(zoo.Distance):
    """Its loss is NaN at some steps while the critic's learning rate is above a bound, which it is told of."""

    def __init__(self, at=(6,), bound=1e-4):
        super().__init__()
        self.at, self.bound = at, bound
        self.trainer = None

    def critic_loss(self, batch):
        loss = batch.fake_scores.mean() - batch.real_scores.mean()
        return loss * float("nan") if batch.step in self.at and self.rate() > self.bound else loss

    def rate(self):
        """The critic's learning rate; 0 before there is a trainer."""
        optimizers = {} if self.trainer is None else self.trainer.optimizers
        return optimizers["critic"].param_groups[0]["lr"] if optimizers else 0.0

    def generator_loss(self, batch):
        return -batch.fake_scores.mean()


@pytest.fixture
def bursting(small, tmp_path, monkeypatch):
    """Trains with a distance that diverges at high rates: `bursting(name, at, bound, **settings)`."""
    made = Trainer.__init__

    def tell(trainer, composition):
        made(trainer, composition)
        composition.parts.distance.trainer = trainer

    monkeypatch.setattr(Trainer, "__init__", tell)

    def given(at, bound):
        return {"dataset": small["dataset"], "generator": "mlp", "critic": "mlp", "distance": Bursts(at, bound)}

    def train(name="run", at=(6,), bound=1e-4, **more):
        settings = {"optimizer": {"name": "Adam", "lr": 2e-4}, "on_divergence": "rollback", **QUICK, **more}
        parts = given(at, bound)
        return zoo.train(**parts, out=tmp_path, name=name, device="cpu", settings=NARROW, **settings)

    train.given = given
    return train


def test_divergence_stops_with_the_last_good_checkpoint_named(small, tmp_path):
    class Bad(type(small["generator"])):
        def forward(self, z, condition=None):
            self.count = getattr(self, "count", 0) + self.training
            return super().forward(z) + (float("nan") if self.count > 22 else 0.0)

    with pytest.raises(Diverged, match=r"became nan at iteration \d+.*last good checkpoint is step 4"):
        zoo.train(
            dataset=small["dataset"],
            generator=Bad(),
            critic=small["critic"],
            distance="wasserstein",
            out=tmp_path,
            name="run",
            device="cpu",
            critic_steps=2,
            **{**QUICK, "average": 0.0},
        )
    assert Folder(tmp_path / "run").state()["state"] == "failed"
    assert Folder(tmp_path / "run").steps()[-1] == 4


def test_a_weight_that_is_not_finite_is_never_saved(small, tmp_path):
    class Root(zoo.Distance):
        """At one step its loss is 0 and its gradient NaN."""

        def critic_loss(self, batch):
            return batch.fake_scores.mean()

        def generator_loss(self, batch):
            return (batch.fake_scores * 0).sqrt().mean() if batch.step == 7 else -batch.fake_scores.mean()

    with pytest.raises(Diverged, match=r"weight of the generator.*last good checkpoint is step 4"):
        zoo.train(**small, distance=Root(), out=tmp_path, name="run", device="cpu", **{**QUICK, "log_every": 12})
    for step in Folder(tmp_path / "run").steps():
        assert torch.isfinite(Folder(tmp_path / "run").load(step)["networks"]["generator"]["theta"]).all()


def test_a_run_goes_back_and_on_with_lower_rates(bursting):
    run = bursting(at=(6,), bound=1.5e-4, log_every=2)
    assert [row["step"] for row in run.metrics] == [2, 4, 6, 8, 10, 12]
    assert ["rollbacks" in row for row in run.metrics] == [False, False, True, True, True, True]
    note = run.folder.state()
    assert note["state"] == "finished"
    (rollback,) = note["rollbacks"]
    assert (rollback["at"], rollback["to"], rollback["rate_factor"]) == (8, 4, 0.5)
    assert "'critic_loss' in the critic phase became nan at iteration 6" in rollback["cause"]
    state = run.folder.load()
    assert state["rate_factor"] == 0.5
    assert state["rollbacks"] == [rollback]
    assert {group["lr"] for each in state["optimizers"].values() for group in each["param_groups"]} == {1e-4}


def test_after_a_rollback_processes_count_from_there_when_to_agree(bursting, monkeypatch):
    begun = []
    monkeypatch.setattr(Agreement, "begin", lambda self, iteration: begun.append(iteration))
    bursting(at=(6,), bound=1.5e-4, log_every=2)
    assert begun[0] == 0
    assert begun[-1] == 4


def test_before_the_rollback_it_is_the_run_that_does_not_diverge(bursting):
    diverging, healthy = bursting(at=(10,), bound=1.5e-4), bursting("healthy", at=())
    assert without_times(diverging)[:2] == without_times(healthy)[:2]
    assert without_times(diverging)[2] != without_times(healthy)[2]


def test_rates_fall_further_with_each_rollback_until_there_were_enough(bursting, tmp_path):
    assert bursting("twice", bound=6e-5).folder.load()["rate_factor"] == 0.25
    with pytest.raises(Diverged, match=r"has stopped after 2 rollbacks; the last good checkpoint is step 4"):
        bursting("never", bound=0.0, rollbacks=2, rollback_factor=0.1)
    note = Folder(tmp_path / "never").state()
    assert note["state"] == "failed"
    assert [each["rate_factor"] for each in note["rollbacks"]] == [0.1, pytest.approx(0.01)]


def test_rates_keep_their_schedule_after_a_rollback(bursting):
    run = bursting(at=(2,), bound=1e-4, schedule="linear")
    healthy = bursting("healthy", at=(), schedule="linear")
    assert run.folder.state()["rollbacks"][0]["to"] == 0

    def rates(run):
        return [group["lr"] for each in run.folder.load()["optimizers"].values() for group in each["param_groups"]]

    factor = run.folder.load()["rate_factor"]
    assert factor < 1
    assert rates(run) == pytest.approx([rate * factor for rate in rates(healthy)])


def test_a_run_that_diverges_before_its_first_checkpoint_goes_back_to_the_start(bursting):
    run = bursting(at=(1,), bound=1.5e-4)
    assert run.folder.state()["rollbacks"][0]["to"] == 0
    assert run.folder.steps() == [8, 12]


@pytest.mark.parametrize("stop", [7, 9], ids=["before the next checkpoint", "after it"])
def test_a_run_that_went_back_is_resumed_to_the_same_bits(bursting, tmp_path, monkeypatch, stop):
    whole = bursting("whole", at=(6,), bound=1.5e-4)
    folder, iterate = Folder(tmp_path / "run"), Trainer.iterate

    def stopping(trainer, estimate=False):
        iterate(trainer, estimate)
        if trainer.optimizers.rate_factor < 1 and trainer.iteration == stop:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "iterate", stopping)
    with pytest.raises(KeyboardInterrupt):
        bursting(at=(6,), bound=1.5e-4)
    monkeypatch.setattr(Trainer, "iterate", iterate)
    assert folder.steps()[-1] == (4 if stop == 7 else 8)
    given = bursting.given((6,), 1.5e-4)
    outcome = zoo.resume(folder.path, device="cpu", given=given)
    assert len(outcome.rollbacks) == 1
    resumed = zoo.load(folder.path, device="cpu", given=given)
    assert without_times(resumed) == without_times(whole)
    assert torch.equal(resumed.sample(10), whole.sample(10))
    ours, theirs = resumed.folder.load(), whole.folder.load()
    assert (ours["rate_factor"], ours["rollbacks"]) == (theirs["rate_factor"], theirs["rollbacks"])


def test_a_run_that_stopped_may_be_told_to_go_back_when_it_is_resumed(bursting, tmp_path):
    with pytest.raises(Diverged, match=r"or let it go back by itself: --on-divergence rollback"):
        bursting(at=(6,), bound=1.5e-4, on_divergence="stop")
    given = bursting.given((6,), 1.5e-4)
    outcome = zoo.resume(tmp_path / "run", on_divergence="rollback", device="cpu", given=given)
    assert (outcome.state, len(outcome.rollbacks)) == ("finished", 1)
    assert Folder(tmp_path / "run").recipe().train["on_divergence"] == "rollback"


def test_the_command_tells_of_rollbacks(zoo_command, tmp_path):
    out = zoo_command(
        "train", "wgan", "--dataset", "ring", "--plugin", BREAKING, "--lipschitz-constraint", "trip",
        "--set", f"lipschitz_constraint.trip.marker={tmp_path / 'marker'}", "--set", "generator.width=8",
        "--set", "critic.width=8", "--set", "train.checkpoint_every=2", "--set", "train.log_every=2",
        "--steps", 6, "--on-divergence", "rollback", "--name", "run",
    )  # fmt: skip
    assert "rollbacks  1, learning rates times 0.5 since step 2" in out.stdout
    assert "'trip' in the critic phase became nan at iteration 3. Back to step 2" in out.stderr
    assert Folder(tmp_path / "runs/run").state()["rollbacks"][0]["at"] == 4


def test_gradient_norms_are_those_of_the_step_before_the_line(tmp_path):
    seen, step = {}, torch.optim.Adam.step

    def watching(optimizer, closure=None):
        seen[len(optimizer.param_groups[0]["params"]), id(optimizer)] = torch.cat(
            [p.grad.flatten() for p in optimizer.param_groups[0]["params"]]
        ).norm()
        return step(optimizer, closure)

    composition = compose_table(
        normalized({"variant": "wgan-gp", "dataset": "ring", "train": {"optimizer": "Adam"}}),
        [(["generator", "width"], 8), (["critic", "width"], 16)],
        device="cpu",
    )
    trainer = Trainer(composition)
    for optimizer in trainer.optimizers.values():
        optimizer.step = lambda closure=None, optimizer=optimizer: watching(optimizer, closure)
    trainer.iterate()
    assert not any("gradient_norm" in name for name in trainer.flush())
    trainer.iterate(estimate=True)
    found = trainer.flush()
    expected = {key[1]: float(value) for key, value in seen.items()}
    for name, optimizer in trainer.optimizers.items():
        assert found[f"{name}_gradient_norm"] == pytest.approx(expected[id(optimizer)], rel=1e-5)


def test_what_was_not_finite_first_is_named():
    history = History(torch.device("cpu"))
    bad, good = torch.tensor(float("nan")), torch.tensor(1.0)
    for step, value in enumerate((good, bad, bad)):
        history.add("critic", "critic_loss", 3, value if step == 2 else good)
        history.add("critic", "penalty", 3, value)
    history.add("critic", "critic_gradient_norm", 3, bad)
    history.add("generator", "a_loss", 3, bad)
    with pytest.raises(Diverged, match="'penalty' in the critic phase became nan at iteration 3"):
        history.means()


def test_a_gradient_that_is_not_finite_is_named_before_what_it_spoils():
    history = History(torch.device("cpu"))
    for name, value in (("critic_loss", 1.0), ("critic_gradient_norm", float("inf"))):
        history.add("critic", name, 3, torch.tensor(value))
    history.add("generator", "generator_loss", 3, torch.tensor(float("nan")))
    with pytest.raises(Diverged, match="'critic_gradient_norm' in the critic phase became inf at iteration 3"):
        history.means()


def lines(*values, name="critic_loss"):
    return [{"step": step, name: value} for step, value in enumerate(values)]


CALM = [1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 0.98, 1.0, 1.1, 0.9]


@pytest.mark.parametrize(
    ("value", "spikes"),
    [(1.3, []), (-0.2, ["critic_loss"]), (5.0, ["critic_loss"]), (1e6, ["critic_loss"])],
)
def test_a_spike_is_far_from_the_lines_before(value, spikes):
    assert Spikes(lines(*CALM)).of({"step": 10, "critic_loss": value}) == spikes


def test_a_spike_does_not_hide_the_next_one():
    spikes = Spikes(lines(*CALM))
    assert [spikes.of({"step": 10 + k, "critic_loss": 1e3}) for k in range(4)] == [["critic_loss"]] * 4
    assert spikes.of({"step": 14, "critic_loss": 1.0}) == []


def test_too_few_lines_and_other_values_have_no_spikes():
    assert Spikes(lines(*CALM[: FEWEST - 1])).of({"step": 9, "critic_loss": 1e6}) == []
    assert Spikes(lines(*CALM, name="seconds")).of({"step": 10, "seconds": 1e6}) == []
    assert Spikes(lines(*[0.5] * 20)).of({"step": 20, "critic_loss": 0.6}) == []


def test_a_loss_that_falls_and_drifts_has_no_spikes():
    falling = lines(*(10 * 0.8**k + 0.01 * k for k in range(100)))
    spikes = Spikes()
    assert [spikes.of(row) for row in falling] == [[]] * 100


def test_spikes_are_in_the_metrics_and_the_same_after_a_resume(small, tmp_path):
    class Jumps(zoo.Distance):
        def critic_loss(self, batch):
            return batch.fake_scores.mean() - batch.real_scores.mean() + (1e3 if batch.step == 13 else 0)

        def generator_loss(self, batch):
            return -batch.fake_scores.mean()

    parts = {"dataset": small["dataset"], "generator": "mlp", "critic": "mlp", "distance": Jumps()}
    options = {"out": tmp_path, "device": "cpu", "settings": NARROW, "batch_size": 8, "log_every": 1}
    whole = zoo.train(**parts, name="whole", steps=16, **options)
    assert [row["step"] for row in whole.metrics if "critic_loss" in row.get("spike", ())] == [14]
    zoo.train(**parts, name="run", steps=12, schedule_steps=16, **options)
    zoo.resume(tmp_path / "run", steps=16, device="cpu", given=parts)
    assert without_times(zoo.load(tmp_path / "run", device="cpu", given=parts)) == without_times(whole)
