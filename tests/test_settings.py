"""Settings are read from signatures and validated before anything is built."""

from typing import Annotated, Literal

import pytest

from zoo.errors import BadSetting, BrokenPlugin, UnknownName
from zoo.settings import Setting, context_of, resolve, settings_of, type_name


class Part:
    def __init__(
        self,
        shape,
        *,
        width: Annotated[int, Setting("channels", ge=1)] = 64,
        rate: Annotated[float, Setting("step", gt=0, lt=1)] = 0.5,
        norm: Literal["none", "batch"] = "none",
        bias: bool = True,
        side: int | None = None,
        stages: Annotated[list[int], Setting("which", ge=0)] = [1, 2],  # noqa: B006
    ):
        pass


def test_keyword_only_parameters_are_settings_and_the_others_context():
    assert list(settings_of(Part)) == ["width", "rate", "norm", "bias", "side", "stages"]
    assert context_of(Part) == ["shape"]


def test_defaults_fill_what_is_not_given():
    resolved = resolve(Part, {"width": 8}, "part")
    assert resolved == {"width": 8, "rate": 0.5, "norm": "none", "bias": True, "side": None, "stages": [1, 2]}


@pytest.mark.parametrize(
    ("given", "value"),
    [({"rate": 0.25}, 0.25), ({"side": "none"}, None), ({"side": 8}, 8), ({"stages": (3,)}, [3])],
)
def test_values_are_taken_as_toml_writes_them(given, value):
    (name,) = given
    assert resolve(Part, given, "part")[name] == value


def test_a_whole_number_is_a_float_too():
    class Rated:
        def __init__(self, *, rate: float = 0.5):
            pass

    assert isinstance(resolve(Rated, {"rate": 1}, "rated")["rate"], float)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"width": 0}, "part.width must be at least 1, not 0"),
        ({"width": 1.5}, "part.width must be a int, not 1.5"),
        ({"width": True}, "part.width must be a int, not True"),
        ({"width": "wide"}, "part.width must be a int, not 'wide'"),
        ({"rate": 0}, "greater than 0"),
        ({"rate": 1.0}, "less than 1"),
        ({"rate": float("nan")}, "finite"),
        ({"norm": "layer"}, 'one of "none" | "batch"'),
        ({"bias": 1}, "part.bias must be a bool"),
        ({"side": "big"}, 'int or "none"'),
        ({"stages": 3}, "list of int"),
        ({"stages": [1, -1]}, "at least 0"),
    ],
)
def test_wrong_values_are_refused_with_their_place(given, words):
    with pytest.raises(BadSetting) as caught:
        resolve(Part, given, "part")
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_unknown_setting_gets_near_names():
    with pytest.raises(UnknownName, match=r"no setting of part is called 'widht'.*Did you mean width"):
        resolve(Part, {"widht": 3}, "part")


def test_a_setting_without_default_is_the_authors_mistake():
    def factory(*, width: int):
        pass

    with pytest.raises(BrokenPlugin, match="'width'.*no default"):
        settings_of(factory)


def test_a_setting_of_another_type_is_the_authors_mistake():
    def factory(*, module: dict = {}):  # noqa: B006
        pass

    with pytest.raises(BrokenPlugin, match="'module'.*dict"):
        settings_of(factory)


def test_a_setting_may_not_take_the_recipes_own_words():
    def factory(*, name: str = ""):
        pass

    with pytest.raises(BrokenPlugin, match="'name'.*otherwise"):
        settings_of(factory)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(int, "int"), (int | None, 'int | "none"'), (list[float], "list of float"), (Literal["a", 1], '"a" | 1')],
)
def test_types_read_as_a_user_writes_them(kind, name):
    assert type_name(kind) == name
