"""Variational autoencoders: the divergence, the bound against the exact likelihood, and what each setting does."""

import math

import numpy as np
import pytest
import torch
import zoo_encoders
from scipy import integrate, stats
from torch import nn
from zoo_encoders.variational import Variational, kl_from_normal

import zoo
from zoo import About, Batch, Draws, Generator, IncompatibleParts, Parts
from zoo.api import compose_table
from zoo.errors import BadRecipe
from zoo.recipe import normalized
from zoo.trainer import Trainer

D, SIZE, DEVIATION = 2, 5, 0.7


def composed(table):
    return compose_table(normalized(table), device="cpu")


class Linear(Generator):
    """x = W z, so that p(x) is a Gaussian."""

    latent_dim = D

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(Draws(0).randn(SIZE, D).double())

    def forward(self, z, condition=None):
        return z @ self.weight.T


class LinearEncoder(Generator):
    """Means that are linear in x, and variances that are the same for all."""

    latent_dim, conditional = 0, True

    def __init__(self, matrix, log_variance):
        super().__init__()
        self.matrix, self.log_variance = nn.Parameter(matrix), nn.Parameter(log_variance)
        self.seen = []

    def forward(self, z, condition=None):
        assert z.shape == (len(condition), 0)
        self.seen.append(condition)
        mean = condition @ self.matrix.T
        return torch.cat([mean, self.log_variance.expand_as(mean)], dim=1)


class DoubleDraws(Draws):
    def randn(self, *shape):
        return super().randn(*shape).double()


@pytest.fixture
def linear():
    """The generator, its posterior's mean as a matrix on x, and its covariance (Bishop, 2006, eq. 12.41 and 12.42)."""
    generator = Linear()
    weight = generator.weight.detach()
    inner = weight.T @ weight + DEVIATION**2 * torch.eye(D, dtype=torch.double)
    return generator, inner.inverse() @ weight.T, DEVIATION**2 * inner.inverse()


def game(real, n=None, labels=None):
    return Batch(real=real, real_condition=labels, fake_condition=labels, draws=DoubleDraws(5))


def bound(generator, encoder, real, **settings):
    parts = Parts(networks={"generator": generator, "encoder": encoder})
    (phase,) = Variational(deviation=DEVIATION, **settings).phases(parts)
    batch = game(real)
    terms = phase.loss(batch)
    return {name: float(term.detach()) for name, term in terms.items()}, float(batch.records["elbo"][0])


def likelihood(weight, real):
    covariance = weight @ weight.T + DEVIATION**2 * np.eye(SIZE)
    return stats.multivariate_normal(np.zeros(SIZE), covariance).logpdf(real)


def importance_bound(generator, encoder, real, k):
    """E log 1/k sum p(x, z_i) / q(z_i | x) (Burda et al., 2015, eq. 8), in numpy's and scipy's own densities."""
    random = np.random.default_rng(0)
    with torch.no_grad():
        mean, log_variance = encoder(torch.empty(len(real), 0), real).chunk(2, 1)
    mean, scale = mean.numpy(), np.exp(log_variance.numpy() / 2)
    z = mean + scale * random.standard_normal((k, *mean.shape))
    made = z @ generator.weight.detach().numpy().T
    joint = stats.norm(made, DEVIATION).logpdf(real.numpy()).sum(-1) + stats.norm.logpdf(z).sum(-1)
    ratios = joint - stats.norm(mean, scale).logpdf(z).sum(-1)
    return float((np.logaddexp.reduce(ratios, axis=0) - math.log(k)).mean())


def test_the_divergence_is_the_integral():
    for mean, log_variance in ((0.0, 0.0), (1.3, -0.8), (-0.4, 1.1)):
        q, p = stats.norm(mean, math.exp(log_variance / 2)), stats.norm()
        expected = integrate.quad(lambda z, q=q, p=p: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -30, 30)[0]
        rows = torch.tensor([[mean] * 3]).double(), torch.tensor([[log_variance] * 3]).double()
        assert float(kl_from_normal(*rows)) == pytest.approx(3 * expected, rel=1e-6, abs=1e-9)


def test_the_bound_lies_below_an_importance_sampled_one_and_that_below_the_likelihood(linear):
    generator, matrix, _ = linear
    encoder = LinearEncoder(0.6 * matrix, torch.zeros(D, dtype=torch.double) - 0.5)
    real = generator(DoubleDraws(1).randn(60_000, D)).detach() + DEVIATION * DoubleDraws(2).randn(60_000, SIZE)
    terms, elbo = bound(generator, encoder, real)
    assert -sum(terms.values()) == pytest.approx(elbo)
    assert elbo == pytest.approx(importance_bound(generator, encoder, real, 1), abs=0.05)
    few = real[:2000]
    exact = float(likelihood(generator.weight.detach().numpy(), few.numpy()).mean())
    nearer, nearest = (importance_bound(generator, encoder, few, k) for k in (5, 100))
    assert elbo < nearer - 0.05 < nearest < exact + 0.01
    assert nearest == pytest.approx(exact, abs=0.05)


def test_the_bound_is_the_likelihood_at_the_exact_posterior(linear):
    generator, matrix, covariance = linear
    # Turned so that the posterior's entries are independent, which leaves p(x) as it is.
    variances, axes = torch.linalg.eigh(covariance)
    generator.weight.data @= axes
    encoder = LinearEncoder(axes.T @ matrix, variances.log())
    real = generator(DoubleDraws(1).randn(60_000, D)).detach() + DEVIATION * DoubleDraws(2).randn(60_000, SIZE)
    exact = float(likelihood(generator.weight.detach().numpy(), real.numpy()).mean())
    assert bound(generator, encoder, real)[1] == pytest.approx(exact, abs=0.03)


class Classed(Linear):
    """x = W z + c[y]."""

    conditional = True

    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(3 * Draws(7).randn(4, SIZE).double())

    def forward(self, z, condition=None):
        return super().forward(z) + self.centres[condition]


def test_a_conditional_bound_is_the_likelihood_given_the_class_at_the_exact_posterior(linear):
    """p(x | y) = N(c[y], W W' + deviation^2); the posterior is that of x - c[y]."""
    _, matrix, covariance = linear
    generator = Classed()
    variances, axes = torch.linalg.eigh(covariance)
    generator.weight.data @= axes
    told = axes.T @ matrix
    encoder = LinearEncoder(torch.cat([told, -told @ generator.centres.detach().T], 1), variances.log())
    labels = torch.arange(40_000) % 4
    made = generator(DoubleDraws(1).randn(len(labels), D), labels).detach()
    real = made + DEVIATION * DoubleDraws(2).randn(*made.shape)
    exact = likelihood(generator.weight.detach().numpy(), (real - generator.centres[labels]).detach().numpy()).mean()
    parts = Parts(networks={"generator": generator, "encoder": encoder}, classes=4)
    (phase,) = Variational(deviation=DEVIATION).phases(parts)
    batch = game(real, labels=labels)
    terms = phase.loss(batch)
    assert float(batch.records["elbo"][0]) == pytest.approx(float(exact), abs=0.04)
    assert -float(sum(terms.values()).detach()) == pytest.approx(float(exact), abs=0.04)
    codes = Variational(deviation=DEVIATION).encode(parts, real, labels)
    torch.testing.assert_close(codes, (real - generator.centres[labels]) @ told.T)


def test_codes_are_the_posteriors_means_and_nothing_is_drawn_for_them(linear):
    """Not even the noise that a denoising encoder sees in training; E(z | x) of Bishop, eq. 12.42."""
    generator, matrix, _ = linear
    encoder, real = LinearEncoder(matrix, torch.full((D,), 0.7, dtype=torch.double)), DoubleDraws(1).randn(9, SIZE)
    parts = Parts(networks={"generator": generator, "encoder": encoder})
    before = torch.random.get_rng_state()
    for noise in (0.0, 0.5):
        codes = Variational(noise=noise).encode(parts, real)
        torch.testing.assert_close(codes, real @ matrix.T, rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_points_are_drawn_of_the_posterior_by_the_games_draws(linear):
    """z ~ N(mean, variance): seen by the generator, which is told nothing else."""
    _, matrix, _ = linear
    seen = []

    class Watching(Linear):
        def forward(self, z, condition=None):
            seen.append(z.detach())
            return super().forward(z)

    log_variance = torch.tensor([-1.0, 2.0], dtype=torch.double)
    parts = Parts(networks={"generator": Watching(), "encoder": LinearEncoder(matrix, log_variance)})
    real = DoubleDraws(1).randn(1, SIZE).expand(40_000, SIZE)
    for _ in range(2):
        Variational().phases(parts)[0].loss(game(real))
    mean, deviation = (real[0] @ matrix.T).numpy(), (log_variance / 2).exp().numpy()
    for entry in range(D):
        assert stats.kstest(seen[0][:, entry], stats.norm(mean[entry], deviation[entry]).cdf).pvalue > 1e-3
    assert torch.equal(seen[0], seen[1])


def test_the_weight_of_the_divergence_is_left_out_of_the_bound(linear):
    generator, matrix, _ = linear
    encoder, real = LinearEncoder(matrix, torch.zeros(D, dtype=torch.double)), DoubleDraws(1).randn(50, SIZE)
    (once, elbo), (four, same) = (bound(generator, encoder, real, beta=beta) for beta in (1.0, 4.0))
    assert four["divergence"] == pytest.approx(4 * once["divergence"])
    assert elbo == pytest.approx(same)


def test_noise_is_on_what_is_encoded_and_not_on_what_is_rebuilt(linear):
    generator, matrix, _ = linear
    encoder, real = LinearEncoder(0 * matrix, torch.zeros(D, dtype=torch.double) - 60), DoubleDraws(1).randn(4000, SIZE)
    terms, _ = bound(generator, encoder, real, noise=0.5)
    assert float((encoder.seen[-1] - real).std()) == pytest.approx(0.5, rel=0.02)
    expected = -stats.norm(0, DEVIATION).logpdf(real.numpy()).sum(1).mean()  # Every code is 0, and so is what is made.
    assert terms["reconstruction"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("variant", ["vae", "dvae", "cvae"])
def test_the_bound_rises_in_training(variant):
    trainer = Trainer(composed({"variant": variant, "dataset": "digits", "train": {"steps": 150}}))
    found = []
    for _ in range(3):
        for _ in range(50):
            trainer.iterate()
        found.append(trainer.flush()["elbo"])
    assert found[0] + 5 < found[1] < found[2]
    trainer.release()


def test_a_conditional_run_is_given_the_class_on_both_sides():
    composition = composed({"variant": "cvae", "dataset": "digits", "train": {"steps": 1}})
    parts, procedure = composition.parts, composition.procedure
    assert composition.networks["generator"].conditional
    assert composition.networks["encoder"].source == (11, 8, 8)
    samples, labels = torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 2])
    codes = procedure.encode(parts, samples, labels)
    assert torch.equal(codes[2], codes[3])
    assert not torch.equal(codes[1], codes[2])
    with pytest.raises(IncompatibleParts, match="the class of each sample"):
        procedure.encode(parts, samples)


def test_codes_are_means_which_rebuild_samples_after_training(tmp_path):
    run = zoo.load(
        zoo.train(
            "vae", dataset="digits", steps=400, out=str(tmp_path), name="vae", device="cpu", log_every=400
        ).folder.path,
        device="cpu",
    )
    samples = run.dataset.samples.float()[:200]
    with torch.no_grad():
        codes = run.composition.procedure.encode(run.composition.parts, samples)
        rebuilt = run.composition.networks["generator"](codes)
    mean = samples.mean(0)
    assert float((rebuilt - samples).square().mean()) < 0.5 * float((mean - samples).square().mean())


@pytest.mark.parametrize("latent", [{"categories": 3}, {"continuous": 1}, {"components": 2}])
@pytest.mark.parametrize("variant", ["vae", "cvae"])
def test_latent_points_that_are_not_standard_normal_are_refused(variant, latent):
    """The divergence is that from N(0, I), and would pull codes to where no sample is drawn from."""
    table = {"variant": variant, "dataset": "digits", "generator": {"width": 8, **latent}, "train": {"steps": 1}}
    with pytest.raises(IncompatibleParts, match="begin with codes or come from a mixture; leave these settings out"):
        composed(table)
    composed({**table, "generator": {"width": 8, **{name: int(name == "components") for name in latent}}})


def test_what_cannot_be_is_refused():
    with pytest.raises(IncompatibleParts, match="pix2pix or cyclegan"):
        Variational().wants(About((1, 8, 8), None, (1, 8, 8), True))
    for part, message in (
        ({"distance": "wasserstein"}, "asks for none; leave it out: --distance none"),
        ({"lipschitz_constraint": ["r1"]}, "wants none; leave it out: --lipschitz-constraint none"),
        ({"critic": "mlp"}, "and no critic; leave out what it does not want: --critic none"),
        ({"objective": ["feature-matching"]}, "has no place for one"),
    ):
        with pytest.raises(BadRecipe, match=message):
            composed({"variant": "vae", "dataset": "digits", "train": {"steps": 1}, **part})
    with pytest.raises(IncompatibleParts, match="looks at no samples; use mlp-encoder"):
        composed({"variant": "aae", "dataset": "digits", "parts": {"encoder": "mlp"}, "train": {"steps": 1}})
    table = {"variant": "cvae", "dataset": "ring", "train": {"steps": 1}}
    with pytest.raises(IncompatibleParts, match="these data have no labels"):
        composed(table)
    assert set(zoo_encoders.variant()) == {"vae", "cvae", "dvae", "aae", "bigan"}
