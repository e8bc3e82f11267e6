"""Building objects from specs by reflection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import SimpleNamespace

import pytest
import torch

from utils.config.annotations import PositiveInt
from utils.config.factory import Catalogue, Component, build, check_component, require
from utils.errors import ConfigError


class Animal(ABC):
    def __init__(self, legs: PositiveInt = 4, *, name: str, classes: int = 0) -> None:
        if legs == 13:
            raise ValueError("13 legs bring bad luck")
        self.legs, self.name, self.classes = legs, name, classes

    @abstractmethod
    def speak(self) -> str: ...


class Dog(Animal):
    def speak(self) -> str:
        return "woof"


class _Hidden(Dog):
    pass


ZOO = Catalogue(
    SimpleNamespace(Animal=Animal, Dog=Dog, Hound=Dog, _Hidden=_Hidden, torch=torch, number=3),
    Animal,
    "animal",
)
LAYERS = Catalogue(torch.nn, torch.nn.Module, "layer")
OPTIMIZERS = Catalogue(torch.optim, torch.optim.Optimizer, "optimizer", frozenset({"params"}))


def test_catalogue_holds_public_concrete_subclasses_and_aliases():
    assert ZOO.classes() == {"Dog": Dog, "Hound": Dog}


def test_build_passes_arguments_and_asked_for_context():
    spec = Component("Dog", {"name": "Rex"})
    dog = build(ZOO, spec, "pet", classes=21, unrelated=object())
    assert (dog.legs, dog.name, dog.classes) == (4, "Rex", 21)
    assert spec == Component("Dog", {"name": "Rex"})


def test_all_mistakes_at_once_with_paths_and_hints():
    spec = Component("Dog", {"legz": 3, "legs": "four"})
    assert check_component(ZOO, spec, "pet") == [
        "pet.args.legz: Dog has no such argument; did you mean 'legs'?",
        "pet.args.legs: expected a whole number, at least 1, got 'four'",
        "pet.args.name: missing; Dog needs it",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dog", "pet.type: no animal called 'dog'; did you mean 'Dog'?"),
        ("torch", "Choose from: Dog, Hound"),
        ("_Hidden", "no animal called '_Hidden'"),
        ("no.such.module.Dog", "cannot import"),
        ("collections.OrderedDict", "not a concrete subclass of Animal"),
    ],
)
def test_unknown_types(name, words):
    (problem,) = check_component(ZOO, Component(name), "pet")
    assert words in problem


def test_dotted_path_to_a_users_own_class(tmp_path, monkeypatch):
    (tmp_path / "users_layers.py").write_text(
        "import torch\nclass Mine(torch.nn.Identity):\n    def __init__(self, width: int = 3):\n"
        "        super().__init__()\n        self.width = width\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    spec = Component("users_layers.Mine", {"width": 7})
    assert build(LAYERS, spec, "arch").width == 7


def test_constructors_refusal_carries_the_path():
    spec = Component("Dog", {"name": "Rex", "legs": 13})
    with pytest.raises(ConfigError, match="pet.args: Dog: 13 legs bring bad luck"):
        build(ZOO, spec, "pet")


def test_a_config_may_repeat_a_derived_value_but_not_contradict_it():
    spec = Component("Dog", {"name": "Rex", "classes": 21})
    assert build(ZOO, spec, "pet", classes=21).classes == 21
    with pytest.raises(ConfigError, match="pet.args.classes: 21 is not the value derived"):
        build(ZOO, spec, "pet", classes=2)


def test_torch_optimizers_need_no_adapter():
    weight = torch.nn.Parameter(torch.zeros(1))
    spec = Component("SGD", {"lr": 0.1, "momentum": 0.9})
    optimizer = build(OPTIMIZERS, spec, "optimizer", params=[weight])
    assert optimizer.param_groups[0]["momentum"] == 0.9
    bad = Component("SGD", {"lr": "fast", "momentun": 0.9})
    assert check_component(OPTIMIZERS, bad, "optimizer") == [
        "optimizer.args.lr: expected a number, got 'fast'",
        "optimizer.args.momentun: SGD has no such argument; did you mean 'momentum'?",
    ]


class Trick(Dog):
    def __init__(self, name: str, low: int = 0, high: int = 9) -> None:
        super().__init__(name=name)

    @classmethod
    def check_arguments(cls, args, path):
        return [f"{path}.low: above high"] if args.get("low", 0) > args.get("high", 9) else []


def test_a_class_adds_checks_that_annotations_cannot_express():
    tricks = Catalogue(SimpleNamespace(Trick=Trick), Animal, "animal")
    wrong = Component("Trick", {"name": "Rex", "low": 5, "high": 2})
    assert check_component(tricks, wrong, "pet") == ["pet.args.low: above high"]
    of_wrong_type = Component("Trick", {"name": "Rex", "low": "five"})
    (problem,) = check_component(tricks, of_wrong_type, "pet")
    assert "expected a whole number" in problem
    with pytest.raises(ConfigError, match="above high"):
        require(tricks, wrong, "pet")


@pytest.mark.parametrize("spec", [None, "Dog", {}, {"type": 3}, {"type": "Dog", "args": [1]}])
def test_a_component_of_another_form_is_refused(spec):
    with pytest.raises(ConfigError, match=r"^pet\."):
        Component.from_plain(spec, "pet")


@pytest.mark.parametrize("error", [OverflowError("too large"), RecursionError("too deep")])
def test_a_constructor_that_overflows_or_recurses_is_a_mistake_of_its_arguments(error):
    class Greedy(Dog):
        def __init__(self) -> None:
            raise error

    animals = Catalogue(SimpleNamespace(Greedy=Greedy), Animal, "animal")
    with pytest.raises(ConfigError, match=rf"pet\.args: Greedy: {error}"):
        build(animals, Component("Greedy"), "pet")
