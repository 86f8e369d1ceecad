"""What every generator and critic of this plugin does, whatever its architecture."""

import copy
import pickle
from importlib.metadata import distribution

import pytest
import torch
import zoo_networks

from zoo import Critic, Draws, Generator, IncompatibleParts

NORMS = {
    "mlp": ("none", "batch", "layer"),
    "dcgan": ("none", "batch", "layer", "instance"),
    "resnet": ("none", "batch", "layer", "instance"),
}
# Those without a choice of norms, and encoders, which read samples, have tests of their own.
GENERATORS, CRITICS = (
    {name: network for name, network in networks.items() if name in NORMS}
    for networks in (zoo_networks.generator(), zoo_networks.critic())
)
WIDTHS = {(3, 96, 96): 3, (1, 256, 256): 2, (2, 129, 8): 3}
IMAGES = [(1, 8, 8), (1, 25, 25), (1, 28, 28), (3, 32, 32), *WIDTHS]
CASES = [(name, shape) for name in GENERATORS for shape in [(2,), *IMAGES] if name == "mlp" or len(shape) == 3]
NORMED = [(name, shape, norm) for name, shape in CASES for norm in NORMS[name] if max(shape) < 256 or norm == "batch"]
NAME_AND_NORM = [(name, norm) for name, norms in NORMS.items() for norm in norms]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def built(networks, name, shape, *, seed=0, **settings):
    torch.manual_seed(seed)
    width = 32 if name == "mlp" else WIDTHS.get(shape, 6)
    return networks[name](shape, width=width, **settings)


def drawn(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_every_parameter_learns(network, output):
    (output * drawn(*output.shape, dtype=output.dtype)).sum().backward()
    largest = {name: p.grad.abs().max().item() for name, p in network.named_parameters()}
    # A parameter that a norm cancels has a gradient of rounding errors, 1e-16 of the others'.
    floor = 1e-12 * max(largest.values())
    assert [name for name, value in largest.items() if not floor < value < float("inf")] == []


def test_the_metadata_declare_what_the_hooks_return():
    declared = {(e.group, e.name) for e in distribution("zoo-networks").entry_points}
    offered = {("zoo.v1.generator", name) for name in zoo_networks.generator()}
    offered |= {("zoo.v1.critic", name) for name in zoo_networks.critic()}
    assert declared == offered


@pytest.mark.parametrize(("name", "shape", "norm"), NORMED)
def test_generators_make_samples_and_all_their_parameters_learn(name, shape, norm):
    generator = built(GENERATORS, name, shape, norm=norm, latent_dim=5).double()
    assert isinstance(generator, Generator)
    assert generator.latent(3, Draws(0)).shape == (3, 5)
    samples = generator(drawn(3, 5, dtype=torch.float64))
    assert samples.shape == (3, *shape)
    assert samples.is_contiguous()
    assert_every_parameter_learns(generator, samples)


@pytest.mark.parametrize(("name", "shape", "norm"), NORMED)
def test_critics_score_samples_and_all_their_parameters_learn(name, shape, norm):
    critic = built(CRITICS, name, shape, norm=norm).double()
    assert isinstance(critic, Critic)
    scores = critic(drawn(3, *shape, dtype=torch.float64)).values
    assert scores.shape == (3,)
    assert_every_parameter_learns(critic, scores)


@pytest.mark.parametrize(("name", "shape", "norm"), NORMED)
def test_only_batch_norm_makes_a_score_depend_on_other_samples(name, shape, norm):
    critic = built(CRITICS, name, shape, norm=norm).double()
    samples = drawn(2, *shape, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(samples).values[0], samples)
    assert gradient[0].abs().max() > 0
    assert (gradient[1].abs().max() > 0) == (norm == "batch")


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 13), (1, 25, 25), (2, 57, 57), (1, 31, 8)])
@pytest.mark.parametrize("name", GENERATORS)
def test_every_pixel_is_made_and_scored(name, shape):
    generator, critic = built(GENERATORS, name, shape).double(), built(CRITICS, name, shape).double()
    images = generator(drawn(8, 128, dtype=torch.float64))
    assert images.std(0).min() > 0
    (gradient,) = torch.autograd.grad(critic(images).values.sum(), images)
    assert gradient.abs().amax(0).min() > 0


@pytest.mark.parametrize("name", GENERATORS)
def test_images_stay_within_one_however_large_the_latent_points(name):
    images = built(GENERATORS, name, (1, 25, 25), norm="none")(1e6 * drawn(4, 128))
    assert images.abs().max() <= 1
    assert images.abs().max() > 0.99


def test_vectors_are_not_bounded():
    assert built(GENERATORS, "mlp", (2,))(1e6 * drawn(4, 128)).abs().max() > 1


@pytest.mark.parametrize(("name", "norm"), [case for case in NAME_AND_NORM if case[1] != "batch"])
def test_a_gradient_penalty_can_be_differentiated(name, norm):
    shape = (1, 9, 9)
    critic = built(CRITICS, name, shape, norm=norm).double()
    samples = drawn(2, *shape, dtype=torch.float64).requires_grad_()
    weight = next(critic.parameters())
    direction = drawn(*weight.shape, dtype=torch.float64)

    def penalty(step):
        with torch.no_grad():
            weight.add_(direction, alpha=step)
        (gradients,) = torch.autograd.grad(critic(samples).values.sum(), samples, create_graph=True)
        return (gradients.flatten(1).norm(dim=1) - 1).square().mean()

    (gradient,) = torch.autograd.grad(penalty(0), weight)
    # So small a step that no ReLU changes sides.
    step = 1e-7
    difference = (penalty(step) - penalty(-2 * step)) / (2 * step)
    assert difference.abs() > 1e-4
    assert torch.isclose((gradient * direction).sum(), difference, rtol=1e-4)


@pytest.mark.parametrize("networks", [GENERATORS, CRITICS], ids=["generator", "critic"])
@pytest.mark.parametrize("name", GENERATORS)
def test_the_seed_decides_the_weights(networks, name):
    one, same, other = (built(networks, name, (1, 8, 8), seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], same[key]) for key in one)
    weights = [key for key in one if one[key].ndim > 1]
    assert weights
    assert not any(torch.equal(one[key], other[key]) for key in weights)


@pytest.mark.parametrize(("name", "norm"), NAME_AND_NORM)
def test_copies_and_pickles_compute_the_same_and_share_nothing(name, norm):
    generator, critic = (built(networks, name, (1, 8, 8), norm=norm) for networks in (GENERATORS, CRITICS))
    z = drawn(3, 128)
    for remade in (copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))):
        twin, judge = remade(generator), remade(critic)
        assert torch.equal(judge(twin(z)).values, critic(generator(z)).values)
        with torch.no_grad():
            next(twin.parameters()).add_(1)
        assert not torch.equal(twin(z), generator(z))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "norm"), NAME_AND_NORM)
def test_bf16_autocast_on_channels_last_agrees_with_fp32(name, norm, device):
    shape = (3, 12, 12)
    generator, critic = (built(networks, name, shape, norm=norm).to(device) for networks in (GENERATORS, CRITICS))
    z = drawn(8, 128).to(device)
    images = generator(z)
    scores = critic(images).values
    generator, critic = (network.to(memory_format=torch.channels_last) for network in (generator, critic))
    with torch.autocast(device, torch.bfloat16):
        low_images = generator(z)
        low_scores = critic(images.contiguous(memory_format=torch.channels_last)).values
    assert low_images.dtype == low_scores.dtype == torch.bfloat16
    assert low_scores.shape == (8,)
    assert torch.allclose(low_images.float(), images, atol=0.05)
    assert torch.allclose(low_scores.float(), scores, atol=0.05 * scores.abs().max().item())
    low_scores.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in critic.parameters())


@pytest.mark.parametrize("networks", [GENERATORS, CRITICS], ids=["generator", "critic"])
@pytest.mark.parametrize("name", ["dcgan", "resnet"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2,), r"is for images .* shape \(2,\); use mlp"),
        ((3, 4), r"is for images .* shape \(3, 4\); use mlp"),
        ((1, 7, 8), "is for image sides from 8 to 256, .* height 7"),
        ((1, 8, 7), "is for image sides from 8 to 256, .* width 7"),
        ((3, 257, 256), "is for image sides from 8 to 256, .* height 257"),
    ],
)
def test_shapes_out_of_the_limits_are_refused(networks, name, shape, message):
    with pytest.raises(IncompatibleParts, match=f"^{name} {message}"):
        networks[name](shape, width=2)


FEATURE_SIZES = [
    ("mlp", (1, 9, 11), {"width": 32}, 32),
    ("mlp", (3,), {"depth": 0, "waves": 4}, 3 + 2 * 4),
    ("mlp", (3,), {"width": 32, "activation": "maxout"}, 32),
    ("dcgan", (1, 8, 8), {"width": 5}, 10 * 2 * 2),
    ("dcgan", (2, 25, 33), {"width": 5}, 10 * 6 * 8),
    ("resnet", (1, 8, 8), {"width": 5}, 5),
    ("resnet", (3, 96, 96), {"width": 2, "pooling": "sum"}, 16),
]


@pytest.mark.parametrize(("name", "shape", "settings", "size"), FEATURE_SIZES)
def test_features_are_flat_and_the_score_is_linear_in_them(name, shape, settings, size):
    torch.manual_seed(0)
    critic = CRITICS[name](shape, **settings).double()
    found = critic(drawn(size + 40, *shape, dtype=torch.float64))
    assert found.features.shape == (size + 40, size)
    assert critic.feature_size == size
    last = [module for module in critic.modules() if isinstance(module, torch.nn.Linear)][-1]
    by_hand = found.features.detach().numpy() @ last.weight.detach().numpy()[0] + last.bias.item()
    assert by_hand == pytest.approx(found.values.detach().numpy(), rel=1e-9)


@pytest.mark.parametrize("name", CRITICS)
def test_dropout_leaves_out_its_share_in_training_alone_and_changes_neither_weights_nor_their_names(name):
    plain, thinned = (built(CRITICS, name, (1, 8, 8), dropout=share) for share in (0.0, 0.25))
    assert list(plain.state_dict()) == list(thinned.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), thinned.state_dict().values(), strict=True)
    )
    left_out = []
    for module in thinned.modules():
        if isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(lambda _m, i, o: left_out.append(1 - o.count_nonzero() / i[0].count_nonzero()))
    samples = drawn(500, 1, 8, 8)
    assert not torch.equal(thinned(samples).values, thinned(samples).values)
    assert left_out
    assert left_out == pytest.approx([0.25] * len(left_out), abs=0.02)
    assert torch.equal(thinned.eval()(samples).values, plain.eval()(samples).values)
    assert not any(isinstance(module, torch.nn.Dropout) for module in plain.modules())
