"""Mistakes in the plugin of complete.py, for tests: what is written, what is written in its place, what is then said."""
# ruff: noqa: E501 - a mistake is a line.

from pathlib import Path

RIGHT = Path(__file__).with_name("complete.py").read_text()
CRITIC = "return (batch.real_scores - self.target).square().mean() + batch.fake_scores.square().mean()"
MAKES = "return (batch.fake_scores - self.target).square().mean()"
SAMPLES = "return draws.randn(n, 2)\n"
PHASES = "return super().phases(parts)"
ONE = "return [zoo.Phase('one', ('generator',), lambda batch: {'loss': batch.fake_scores.mean()})]"


def phase(old, new):
    return PHASES, ONE.replace(old, new)


# fmt: off
MISSING = {
    "abstract": ("def generator_loss(self, batch):\n        return (", "def generator_los(self, batch):\n        return (", "distance 'squares': it defines no generator_loss. Is its generator_los meant"),
    "unset": ("super().__init__()\n        self.target", "self.target", "'squares': its __init__ does not call super()"),
    "signature": ("def critic_loss(self, batch)", "def critic_loss(self, real, fake)", "'squares': critic_loss takes (real, fake), but it is called with (batch)."),
    "told": ("def after_step(self, means)", "def after_step(self)", "after_step takes (), but it is called with (means)."),
    "no subclass": ("Squares(zoo.Distance)", "Squares(torch.nn.Module)", "'squares': it is on the hook distance, and no"),
    "another": ('{"squares": Squares}', '{"squares": Gap}', "'squares': it is on the hook distance, and no subclass of"),
    "a type": ("target: float", "target: 'flaot'", "'squares': a type in the signature of Squares cannot be read: name"),
    "no type": ("target: float", "target", "distance 'squares': setting 'target' of Squares has type Any"),
    "context": ("def __init__(self, shape):\n        super().__init__()\n        self.layer", "def __init__(self, shpe):\n        super().__init__()\n        self.layer", "critic 'judge': it wants 'shpe', which the core does not give to a critic. Did you mean shape?"),
    "no forward": ("def forward(self, z", "def forwad(self, z", "'maker': it defines no forward. Is its forwad meant to"),
    "a word": ('"""Fakes are small."""', 'trained_with = "critic"', "objective 'small': it has trained_with = 'critic'; set trained_with, a tuple of phases"),
    "no latent": ("self.latent_dim = 4", "pass", "generator 'maker': it has no latent_dim; set self.latent_dim"),
    "latent": ("self.latent_dim = 4", "self.latent_dim = '4'", "generator 'maker': it has latent_dim = '4'; set"),
    "latent sig": ("def latent(self, n, draws)", "def latent(self, n)", "latent takes (n), but it is called with (n, draws)"),
    "idle": ("def generator_loss(self, batch):\n        batch.record", "def generator_los(self, batch):\n        batch.record", "'small': it does nothing: it defines none of critic_loss, generator_loss. Is its generator_los"),
    "density": ("def sample(self", "def sampel(self", "dataset 'dots': it defines no sample. Is its sampel meant to be"),
    "no shape": ("self.shape = (2,)", "pass", "dataset 'dots': it has no shape; set self.shape, of one sample"),
    "shape": ("self.shape = (2,)", "self.shape = 2", "dataset 'dots': it has shape = 2; set self.shape, of one sample"),
    "wants": ("return super().wants(about)", "super().wants(about)", "'plain': wants returns nothing (is a 'return' mis"),
    "list": ("return super().wants(about)", "return ['generator']", "'plain': wants returns a list of str, and not a"),
    "phases": (PHASES, PHASES[7:], "'plain': phases returns nothing (is a 'return' missing?), and not a list of zoo.P"),
    "empty": (PHASES, "return []", "procedure 'plain': phases returns an empty list, and not a list of zoo.Phase"),
    "dict": (PHASES, "return {'a': 1}", "procedure 'plain': phases returns a dict of int, and not a list of zoo.Phase"),
    "drawn": ("return dataset\n", "dataset\n", "procedure 'plain': drawn returns nothing (is a 'return' missing?)"),
    "one name": (PHASES, "return super().phases(parts) * 2", "the critic phase is there 2 times; phases have names of"),
    "a part": (*phase("'generator'", "'genrator'"), "trains 'genrator', which is no part; the parts: generator"),
    "no tuple": (*phase("('generator',)", "'generator'"), "the one phase trains 'generator', and not a tuple of names"),
    "steps": (*phase("})]", "}, steps=1.0)]"), "the one phase has steps = 1.0, and not a whole number from 1"),
    "every": (*phase("})]", "}, every=0)]"), "the one phase has every = 0, and not a whole number from 1"),
    "after": (*phase("})]", "}, after=lambda x: x)]"), "has the after (x), but it is called with ()"),
}
WRONG = {
    "vector": (CRITIC, "return batch.real_scores", "'squares': critic_loss returns a tensor (4,) of torch.float32, and"),
    "row": (MAKES, MAKES.replace("mean()", "mean(0, keepdim=True)"), "generator_loss returns a tensor (1,) of torch.fl"),
    "number": (MAKES, "return 1.0", "'squares': generator_loss returns a float, and not a scalar tensor: what is mini"),
    "nothing": (MAKES, MAKES[7:], "generator_loss returns nothing (is a 'return' missing?), and not a scalar tensor"),
    "critic nothing": (CRITIC, CRITIC[7:], "critic_loss returns nothing (is a 'return' missing?), and not a scalar"),
    "count": (MAKES, "return (batch.fake_scores > 0).sum()", "generator_loss returns a tensor () of torch.int64, and"),
    "detached": (MAKES, "return batch.fake_scores.detach().mean()", "'squares': 'generator_loss' of the generator phase has no gr"),
    "others": (MAKES, "return batch.real_scores.mean()", "'squares': 'generator_loss' of the generator phase has no gr"),
    "estimate": ("return batch.real_scores.mean()", "return batch.real_scores", "'squares': estimate returns a tensor"),
    "record": ("batch.fake.abs().max()", "batch.fake.abs()", "objective 'small': batch.record(largest=...) takes scalars"),
    "objective": ("return batch.fake.square().mean()", "return batch.fake", "'small': generator_loss returns a tensor (4, 2"),
    "penalty": ('batch.slopes("real").square().mean()', 'batch.slopes("real")', "'flat': penalty returns a tensor (4,)"),
    "made twice": ("return self.layer(z)", "return self.layer(z), z", "'maker': forward returns a tuple of Tensor, and"),
    "made integers": ("return self.layer(z)", "return self.layer(z).long()", "'maker': forward returns a tensor (4, 2)"),
    "made apart": ("return self.layer(z)", "return self.layer(z).detach()", "'maker': its samples have no gradient by"),
    "scored not": ("return self.layer(samples)", "self.layer(samples)", "'judge': forward returns nothing (is a 'return'"),
    "scored apart": ("squeeze(1)", "squeeze(1).detach()", "'judge': forward returns a tensor (4,) of torch.float32 wi"),
    "samples": (SAMPLES, "return draws.randn(n, 3)\n", "'dots': sample returns a tensor (4, 3) of torch.float32, and"),
    "too few": (SAMPLES, "return draws.randn(3, 2)\n", "'dots': sample returns a tensor (3, 2) of torch.float32, and"),
    "double": (SAMPLES, "return draws.randn(n, 2).double()\n", "'dots': sample returns a tensor (4, 2) of torch.float64"),
    "array": (SAMPLES, "return draws.randn(n, 2).numpy()\n", "dataset 'dots': sample returns a ndarray, and not a tens"),
    "elsewhere": (SAMPLES, "return draws.randn(n, 2).to('meta')\n", "'dots': sample returns a tensor on meta, and not on"),
    "no dict": (*phase("{'loss': batch.fake_scores.mean()}", "batch.z.sum()"), "the loss of the one phase returns a tens"),
    "phase vector": (*phase(".mean()", ""), "'plain': the loss of the one phase returns a tensor (4,) of torch.float32"),
    "unmoved": (*phase(".mean()", ".detach().mean()"), "procedure 'plain': 'loss' of the one phase has no gradient by what the"),
    "objective unmoved": ("return batch.fake.square().mean()", "return batch.real.square().mean()", "'small': 'small' of the generator phase has no gr"),
    "no terms": (*phase("'loss': batch.fake_scores.mean()", ""), "'plain': the loss of the one phase returns nothing"),
}
RAISED = {
    "batch": (MAKES, MAKES.replace("fake_scores", "fake_score"), "'squares': AttributeError: 'Batch' object has no attribute 'fake_score'. Did you mean fake_scores?"),
    "itself": (MAKES, MAKES.replace("target", "tarqet"), "'Squares' object has no attribute 'tarqet'. Did you mean targ"),
    "name": (MAKES, "return batsh.fake_scores.mean()", "NameError: name 'batsh' is not defined. Did you mean batch?"),
    "key": (MAKES, "return {}['loss']", "distance 'squares': KeyError: 'loss'."),
    "zero": (MAKES, "return batch.fake_scores.mean() * (1 / 0)", "'squares': ZeroDivisionError: division by zero."),
    "making": ("self.target = target", "self.target = {}[target]", "distance 'squares': KeyError: 1.0."),
    "made": ("self.target = target", "self.target = torch.tensr(1)", "no attribute 'tensr'. Did you mean tensor?"),
    "a type": ("self.target = target", "self.target = len(target)", "TypeError: object of type 'float' has no len()."),
    "first": ("        super().__init__()\n        self.layer = nn.Linear(shape", "        self.layer = nn.Linear(shape", "critic 'judge': AttributeError: cannot assign module before Module.__init__() call."),
    "network": ("return self.layer(z)", "return self.layr(z)", "'maker': AttributeError: 'Maker' object has no attribute"),
    "parameters": ("def forward(self, samples, condition=None)", "def forward(self)", "'judge': TypeError: Judge.forward("),
    "critic": ("assert critic.layer", "assert critic.layr", "'flat': AttributeError: 'Judge' object has no attribute"),
    "slope": ("batch.slopes", "batch.slope", "'flat': AttributeError: 'Batch' object has no attribute 'slope'. Did you"),
    "estimate": ("return batch.real_scores.mean()", "return batch.real_score", "no attribute 'real_score'. Did you mean re"),
    "draws": (SAMPLES, "return draws.randnn(n, 2)\n", "'dots': AttributeError: 'Draws' object has no attribute 'randnn'."),
    "about": ("super().wants(about)", "super().wants(about.shap)", "'plain': AttributeError: 'About' object has no attr"),
    "parts": (PHASES, "return parts.netwrks", "'plain': AttributeError: 'Parts' object has no attribute 'netwrks'. Did"),
    "lambda": (*phase("fake_scores", "fake_score"), "procedure 'plain': AttributeError: 'Batch' object has no attribut"),
}
REFUSED = {
    "no layers": ("self.layer = nn.Linear(4, shape[0])", "self.layer = lambda z, it=nn.Linear(4, shape[0]): it(z)", "the generator phase has nothing to train: ", "in an nn.ModuleList"),
    "infinite": (SAMPLES, "return draws.randn(n, 2) / 0\n", "the data set Dots has samples with values that are NaN or infinite.", ""),
    "shape": (CRITIC, "return (batch.real_scores @ torch.ones(3, 3)).mean()", "the parts fail on 4 samples: ", "torch.ones(3, 3)"),
    "places": ('slopes("real")', 'slopes("rael")', "the parts fail on 4 samples: no samples are called 'rael'; say", 'slopes("rael")'),
    "value": ("self.target = target", "raise ValueError('no')", "distance 'squares' cannot be made with its settings: ValueError: no", "raise ValueError('no')"),
}
OFFERED = {
    "instance": ('{"squares": Squares}', '{"squares": Squares()}', "the hook distance offers a Squares as 'squares', and not what makes one"),
    "table": ('zoo.Variant("All of it.", table)', "table", "the variant 'whole' is a dict, and not a zoo.Variant"),
    "nothing": ('return {"gap": Gap}', '{"gap": Gap}', "the hook metric returns nothing: its 'return' is missing"),
    "unmarked": ("@zoo.hookimpl\ndef metric", "def metric", "the hook metric is not marked with @zoo.hookimpl"),
    "hook": ('{"gap": Gap}', '{"gap": Gop}', 'return {"gap": Gop}'),
    "import": ("import zoo\n", "import zoo\nfrom zoo import Distanse\n", "    from zoo import Distanse\n"),
}
MEASURED = {
    "missing": ("def measure", "def mesure", "metric 'gap': it defines no measure. Is its mesure meant to be measure?"),
    "figures": ('figures: ClassVar = {"gap": "lower"}', 'figures: ClassVar = ["gap"]', "metric 'gap': it has figures = ['gap']; set"),
    "number": ('return {"gap": float(', 'return 1 or {"gap": float(', "metric 'gap': measure returns an int, and not a dict of numbers"),
    "words": ('"gap": float(', '"gap": str(', "metric 'gap': measure returns a dict of str, and not of numbers."),
    "evidence": ("evidence.fake", "evidence.fakes", "'Evidence' object has no attribute 'fakes'. Did you mean fake?"),
}
# fmt: on
