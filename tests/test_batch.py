"""The game that losses are written in: every quantity computed once, slopes per sample, heads and patches."""

import pytest
import torch
from torch import nn

from zoo import Batch, Critic, Draws, IncompatibleParts, Scores


class Linear(Critic):
    def __init__(self, dimensions):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(1.0, dimensions + 1))
        self.calls = 0

    def forward(self, samples, condition=None):
        self.calls += 1
        return samples.flatten(1) @ self.weight


class Heads(Linear):
    def forward(self, samples, condition=None):
        score = super().forward(samples)
        return Scores((score, 2 * score), features=samples)


def game(critic, shape=(3, 2, 2), n=5, **fields):
    draws = Draws(1)
    return Batch(critic=critic, real=draws.randn(n, *shape), fake=draws.randn(n, *shape), draws=draws, **fields)


def test_scores_are_computed_once():
    critic = Linear(12)
    batch = game(critic)
    assert batch.real_scores is batch.real_scores
    batch.slopes("real")
    assert critic.calls == 1


@pytest.mark.parametrize("where", ["real", "fake", "segment"])
def test_slopes_are_the_norm_of_each_samples_gradient(where):
    critic = Linear(12)
    slopes = game(critic).slopes(where)
    assert slopes.shape == (5,)
    torch.testing.assert_close(slopes, critic.weight.norm().expand(5))
    (gradient,) = torch.autograd.grad(slopes.sum(), critic.weight)
    torch.testing.assert_close(gradient, 5 * critic.weight / critic.weight.norm())


def test_slopes_at_points_of_ones_own():
    class Square(Critic):
        def forward(self, samples, condition=None):
            return samples.square().flatten(1).sum(1)

    points = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    batch = Batch(critic=Square(), real=points, fake=points)
    torch.testing.assert_close(batch.slopes(points), torch.tensor([10.0, 2.0]))


def test_slopes_of_pairs_are_over_both_members():
    class Both(Critic):
        def forward(self, samples, condition=None):
            x, z = samples
            return 3 * x.flatten(1).sum(1) + 4 * z.flatten(1).sum(1)

    pair = (torch.randn(6, 1), torch.randn(6, 1))
    batch = Batch(critic=Both(), real=pair, fake=tuple(-t for t in pair))
    for where in ("real", "segment"):
        torch.testing.assert_close(batch.slopes(where), torch.full((6,), 5.0))


def test_every_head_is_a_game_that_shares_the_forward_passes():
    critic = Heads(12)
    heads = list(game(critic).heads())
    scores = [head.real_scores for head in heads]
    slopes = [head.slopes("segment") for head in heads]
    torch.testing.assert_close(scores[1], 2 * scores[0])
    torch.testing.assert_close(slopes[1], 2 * slopes[0])
    assert critic.calls == 3


def test_several_heads_cannot_be_taken_for_one():
    with pytest.raises(IncompatibleParts, match="batch.heads"):
        _ = game(Heads(12)).real_scores


def test_patches_are_averaged_for_slopes_and_margins_spread_over_them():
    class Patches(Critic):
        def forward(self, samples, condition=None):
            return samples.sum(1)

    batch = game(Patches())
    assert batch.real_scores.shape == (5, 2, 2)
    torch.testing.assert_close(batch.slopes("real"), torch.full((5,), (12 * (1 / 4) ** 2) ** 0.5))
    assert batch.like_scores(torch.ones(5)).shape == (5, 2, 2)


def test_samples_are_drawn_when_they_are_asked_for():
    asked = []
    batch = Batch(critic=Linear(2), real=lambda: asked.append("real"), fake=lambda: torch.zeros(3, 2))
    _ = batch.fake_scores
    assert asked == []


def test_another_game_shares_records_and_random_numbers():
    batch = game(Linear(12))
    other = batch.versus(Linear(4), torch.zeros(2, 4), torch.ones(2, 4))
    other.record(seen=torch.tensor(3.0))
    assert batch.records["seen"][0] == 3.0
    assert other.real_scores.shape == (2,)


def test_a_game_without_critic_says_so():
    with pytest.raises(IncompatibleParts, match="needs a critic"):
        _ = Batch(real=torch.zeros(2, 1), fake=torch.zeros(2, 1)).real_scores


def test_segments_need_as_many_fakes_as_reals():
    batch = Batch(critic=Linear(1), real=torch.zeros(2, 1), fake=torch.zeros(3, 1))
    with pytest.raises(IncompatibleParts, match="2 and 3"):
        batch.slopes("segment")


def test_samples_are_scored_and_their_slopes_taken_under_their_own_conditions():
    class Conditional(Linear):
        conditional = True

        def forward(self, samples, condition=None):
            return super().forward(samples) * condition

    one, other = torch.arange(1.0, 6), torch.arange(5.0, 0, -1)
    batch = game(Conditional(12), real_condition=one, fake_condition=other)
    weight = batch.critic.weight
    torch.testing.assert_close(batch.real_scores, batch.real.flatten(1) @ weight * one)
    torch.testing.assert_close(batch.fake_scores, batch.fake.flatten(1) @ weight * other)
    torch.testing.assert_close(batch.slopes("real"), weight.norm() * one)
    torch.testing.assert_close(batch.slopes("fake"), weight.norm() * other)
    points = batch.fake + 1
    torch.testing.assert_close(batch.scores(points), points.flatten(1) @ weight * one)


def test_segments_between_differing_conditions_are_refused():
    class Conditional(Linear):
        conditional = True

        def forward(self, samples, condition=None):
            return super().forward(samples) + condition

    batch = game(Conditional(12), real_condition=torch.ones(5), fake_condition=torch.zeros(5))
    with pytest.raises(IncompatibleParts, match="same condition"):
        batch.slopes("segment")
    torch.testing.assert_close(batch.slopes("fake"), Linear(12).weight.norm().expand(5))


def test_without_tracking_there_are_no_slopes():
    with pytest.raises(IncompatibleParts, match="critic's phase"):
        game(Linear(12), track=False).slopes("real")


class Squares(Critic):
    """Scores 0, and squares of samples as features."""

    def forward(self, samples, condition=None):
        return Scores(0 * samples.flatten(1).sum(1), samples.square())


def test_a_witness_sees_the_features_of_the_points_where_slopes_are_taken():
    points = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    real = torch.ones(3, 2)

    def witness(scores, batch, features):
        return scores + (features * batch.real_vectors.mean(0)).sum(1)

    batch = Batch(critic=Squares(), real=2 * real, fake=real, witness=witness)
    torch.testing.assert_close(batch.slopes(points), 4 * torch.tensor([10.0, 2.0]))


def test_vectors_are_the_critics_features_flat_and_without_a_critic_the_samples():
    images = Draws(2).randn(4, 1, 2, 2)
    batch = Batch(critic=Squares(), real=images, fake=images.bfloat16())
    torch.testing.assert_close(batch.real_vectors, images.square().flatten(1))
    assert batch.fake_vectors.dtype == torch.float32
    alone = Batch(real=images, fake=(images, images))
    assert torch.equal(alone.real_vectors, images.flatten(1))
    assert alone.fake_vectors.shape == (4, 8)


@pytest.mark.parametrize("features", [None, (torch.zeros(5, 2),), torch.zeros(5)])
def test_a_critic_without_features_has_no_vectors_and_is_told_what_to_do(features):
    class Bare(Critic):
        def forward(self, samples, condition=None):
            return Scores(samples.flatten(1).sum(1), features)

    with pytest.raises(IncompatibleParts, match="--critic none") as caught:
        _ = game(Bare()).real_vectors
    assert "zoo.Scores(values, features)" in str(caught.value)
