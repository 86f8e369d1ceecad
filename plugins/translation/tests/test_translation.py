"""U-Net, residual translator, patch critic and reconstruction: shapes, what is seen of what, losses, refusals."""

import numpy as np
import pytest
import torch
from zoo_translation import PatchCritic, Reconstruction, ResNetTranslator, UNet

import zoo
from zoo import BadData, Batch, Draws, IncompatibleParts
from zoo.api import compose_table
from zoo.testing.parts import small_data, small_translations
from zoo.translating import translated

TRANSLATORS = {
    "unet": lambda shape, source: UNet(shape, source, width=2, dropout=0.0),
    "resnet-translator": lambda shape, source: ResNetTranslator(shape, source, width=2, blocks=1, halvings=1),
}


@pytest.mark.parametrize("name", TRANSLATORS)
@pytest.mark.parametrize("sides", [(8, 8), (9, 13), (16, 8), (25, 25), (32, 40)])
def test_translators_keep_any_size_and_change_channels(name, sides):
    network = TRANSLATORS[name]((1, *sides), (3, *sides))
    made = network(torch.empty(2, 0), torch.tanh(Draws(0).randn(2, 3, *sides)))
    assert tuple(made.shape) == (2, 1, *sides)
    assert float(made.detach().abs().max()) <= 1


def _depends(network, sides, channels=1):
    """Which pixels of the source the middle of the result depends on, (H, W)."""
    source = torch.tanh(Draws(0).randn(1, channels, *sides)).requires_grad_()
    middle = network.eval()(torch.empty(1, 0), source)[0, :, sides[0] // 2, sides[1] // 2].sum()
    return torch.autograd.grad(middle, source)[0][0].abs().sum(0) > 0


def test_a_unet_down_to_one_pixel_sees_all_of_the_source_and_a_shallow_one_does_not():
    for norm, depth, everything in (("none", 0, True), ("none", 2, False)):
        network = UNet((1, 32, 32), (1, 32, 32), width=4, depth=depth, norm=norm, dropout=0.0, init="torch")
        seen = _depends(network, (32, 32))
        assert bool(seen.float().mean() > 0.97) == everything
        assert seen[16, 16]


def test_a_unet_passes_maps_around_its_middle():
    network = UNet((1, 16, 16), (1, 16, 16), width=4, norm="none", dropout=0.0, init="torch")
    z, source = torch.empty(1, 0), torch.tanh(Draws(0).randn(1, 1, 16, 16))
    full = network(z, source)
    with torch.no_grad():
        for parameter in network.down[-1].parameters():
            parameter.zero_()
    without_middle = network(z, source)
    assert not torch.equal(full, without_middle)
    assert not torch.equal(without_middle, network(z, -source))


def test_a_unets_noise_is_dropout_in_training_alone():
    network = UNet((1, 16, 16), (1, 16, 16), width=4, dropout=0.5)
    source = torch.tanh(Draws(0).randn(2, 1, 16, 16))
    z = network.latent(2, Draws(0))
    assert tuple(z.shape) == (2, 0)
    assert not torch.equal(network(z, source), network(z, source))
    network.eval()
    assert torch.equal(network(z, source), network(z, source))


@pytest.mark.parametrize("name", TRANSLATORS)
def test_translators_refuse_what_has_no_sources_of_the_same_size(name):
    for shape, source, said in (
        ((1, 8, 8), None, "digit-translation"),
        ((1, 8, 8), (1, 16, 16), "same size"),
        ((2,), (2,), "same size"),
        ((1, 4, 4), (1, 4, 4), "sides from 8"),
    ):
        with pytest.raises(IncompatibleParts, match=said):
            TRANSLATORS[name](shape, source)


def test_a_translator_of_maps_too_small_to_reflect_says_so():
    with pytest.raises(IncompatibleParts, match="halvings"):
        ResNetTranslator((1, 8, 8), (1, 8, 8), width=2, halvings=3)


def _field(halvings):
    """The side of a patch: each convolution sees 3 more strides of its own (Isola et al., appendix)."""
    side, stride = 1, 1
    for _ in range(halvings):
        side, stride = side + 3 * stride, stride * 2
    return side + 2 * 3 * stride


@pytest.mark.parametrize(("halvings", "side"), [(1, 16), (2, 34), (3, 70)])
def test_a_patch_has_the_papers_size(halvings, side):
    assert _field(halvings) == side
    critic = PatchCritic((1, 96, 96), None, None, width=2, halvings=halvings, norm="none", init="torch")
    image = torch.tanh(Draws(0).randn(1, 1, 96, 96)).requires_grad_()
    scores = critic(image)
    row = scores.shape[1] // 2
    seen = torch.autograd.grad(scores[0, row, row], image)[0][0, 0].abs() > 0
    assert int(seen.any(0).sum()) == side
    assert int(seen.any(1).sum()) == side


@pytest.mark.parametrize("sides", [(8, 8), (9, 14), (16, 16), (64, 48)])
def test_scores_are_of_two_patches_a_side_or_more(sides):
    scores = PatchCritic((1, *sides), None, None, width=2)(torch.zeros(3, 1, *sides))
    assert scores.ndim == 3
    assert len(scores) == 3
    assert min(scores.shape[1:]) >= 2


def test_a_patch_critics_channels_double_to_eight_times_as_many():
    critic = PatchCritic((1, 256, 256), None, None, width=3, halvings=6)
    channels = [layer.out_channels for layer in critic.layers if isinstance(layer, torch.nn.Conv2d)]
    assert channels == [3, 6, 12, 24, 24, 24, 24, 1]


def test_a_patch_critic_sees_the_source_of_pairs_unless_told_not_to():
    shape, source = (1, 8, 8), (3, 8, 8)
    samples, sources = torch.zeros(2, *shape), Draws(0).randn(2, *source)
    seeing = PatchCritic(shape, source, True, width=2)
    assert seeing.conditional
    assert not torch.equal(seeing(samples, sources), seeing(samples, -sources))
    assert not PatchCritic(shape, source, True, width=2, conditional=False).conditional
    assert not PatchCritic(shape, source, False, width=2, conditional=False).conditional
    with pytest.raises(IncompatibleParts, match=r"critic.conditional = false"):
        PatchCritic(shape, source, False, width=2)
    with pytest.raises(IncompatibleParts, match="samples' size"):
        PatchCritic(shape, (3, 16, 16), True, width=2)


@pytest.mark.parametrize(("norm", "power"), [("L1", 1), ("L2", 2)])
def test_reconstruction_is_the_papers_with_its_gradient(norm, power):
    draws = Draws(0)
    real, fake = draws.randn(6, 1, 3, 3).double(), draws.randn(6, 1, 3, 3).double().requires_grad_()
    batch = Batch(real=real, fake=fake)
    loss = Reconstruction(True, weight=7.0, norm=norm).generator_loss(batch)
    difference = fake.detach().numpy() - real.numpy()
    assert loss.item() == pytest.approx(7 * (abs(difference) ** power).mean(), rel=1e-12)
    assert batch.records["reconstruction_error"][0].item() == pytest.approx(loss.item() / 7)
    (gradient,) = torch.autograd.grad(loss, fake)
    expected = 7 * (np.sign(difference) if power == 1 else 2 * difference) / difference.size
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-12)
    assert Reconstruction(True).weight == 100


def test_reconstruction_is_of_pairs_and_has_no_part_in_the_critics_loss():
    real = Draws(0).randn(4, 2)
    assert Reconstruction(True).generator_loss(Batch(real=real, fake=real.clone())).item() == 0
    assert Reconstruction(True).generator_loss(Batch(real=real, fake=real.flip(0))).item() > 1
    assert Reconstruction(True).critic_loss(Batch(real=real, fake=real)) is None


@pytest.mark.parametrize(
    ("data", "said"),
    [(small_translations((1, 8, 8), False), "belong to no samples"), (small_data((1, 8, 8)), "no sour")],
)
def test_pix2pix_refuses_data_without_pairs(data, said):
    with pytest.raises(IncompatibleParts, match=said):
        compose_table({"variant": "pix2pix"}, device="cpu", given={"dataset": data})
    assert issubclass(IncompatibleParts, zoo.ZooError)
    assert not issubclass(IncompatibleParts, BadData)


def test_pix2pix_learns_to_turn_digits(tmp_path):
    settings = {"dataset.task": "inverted", "dataset.split": "train", "generator.width": 16, "critic.width": 8}
    zoo.train(
        "pix2pix", dataset="digit-translation", steps=150, out=tmp_path, name="r", device="cpu", settings=settings
    )
    run = zoo.load(tmp_path / "r", device="cpu")
    from zoo_datasets.translations import digit_translation

    pairs = digit_translation(task="inverted", split="test")
    error = float((translated(run, pairs.sources) - pairs.samples).abs().mean())
    mean = run.dataset.samples.mean(0)
    assert error < 0.7 * float((mean - pairs.samples).abs().mean())
    assert error < 0.2 * float((pairs.sources - pairs.samples).abs().mean())
