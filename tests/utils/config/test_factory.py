"""Building objects from specs by reflection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import SimpleNamespace

import pytest
import torch

from utils.config.annotations import PositiveInt
from utils.config.factory import build, catalogue, check_spec
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


ZOO = SimpleNamespace(Animal=Animal, Dog=Dog, Hound=Dog, _Hidden=_Hidden, torch=torch, number=3)


def test_catalogue_holds_public_concrete_subclasses_and_aliases():
    assert catalogue(ZOO, Animal) == {"Dog": Dog, "Hound": Dog}


def test_build_passes_arguments_and_asked_for_context():
    spec = {"type": "Dog", "args": {"name": "Rex"}}
    dog = build(ZOO, Animal, spec, "pet", classes=21, unrelated=object())
    assert (dog.legs, dog.name, dog.classes) == (4, "Rex", 21)
    assert spec == {"type": "Dog", "args": {"name": "Rex"}}


def test_all_mistakes_at_once_with_paths_and_hints():
    spec = {"type": "Dog", "args": {"legz": 3, "legs": "four"}}
    assert check_spec(ZOO, Animal, spec, "pet") == [
        "pet.args.legz: Dog has no such argument; did you mean 'legs'?",
        "pet.args.legs: expected a whole number, at least 1, got 'four'",
        "pet.args.name: missing; Dog needs it",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dog", "pet.type: no Animal called 'dog'; did you mean 'Dog'?"),
        ("torch", "Choose from: Dog, Hound"),
        ("_Hidden", "no Animal called '_Hidden'"),
        ("no.such.module.Dog", "cannot import"),
        ("collections.OrderedDict", "not a concrete subclass of Animal"),
    ],
)
def test_unknown_types(name, words):
    (problem,) = check_spec(ZOO, Animal, {"type": name}, "pet")
    assert words in problem


def test_dotted_path_to_a_users_own_class(tmp_path, monkeypatch):
    (tmp_path / "users_layers.py").write_text(
        "import torch\nclass Mine(torch.nn.Identity):\n    def __init__(self, width: int = 3):\n"
        "        super().__init__()\n        self.width = width\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    spec = {"type": "users_layers.Mine", "args": {"width": 7}}
    assert build(torch.nn, torch.nn.Module, spec, "arch").width == 7


def test_constructors_refusal_carries_the_path():
    spec = {"type": "Dog", "args": {"name": "Rex", "legs": 13}}
    with pytest.raises(ConfigError, match="pet.args: Dog: 13 legs bring bad luck"):
        build(ZOO, Animal, spec, "pet")


def test_a_config_may_repeat_a_derived_value_but_not_contradict_it():
    spec = {"type": "Dog", "args": {"name": "Rex", "classes": 21}}
    assert build(ZOO, Animal, spec, "pet", classes=21).classes == 21
    with pytest.raises(ConfigError, match="pet.args.classes: 21 is not the value derived"):
        build(ZOO, Animal, spec, "pet", classes=2)


def test_torch_optimizers_need_no_adapter():
    weight = torch.nn.Parameter(torch.zeros(1))
    spec = {"type": "SGD", "args": {"lr": 0.1, "momentum": 0.9}}
    optimizer = build(torch.optim, torch.optim.Optimizer, spec, "optimizer", params=[weight])
    assert optimizer.param_groups[0]["momentum"] == 0.9
    bad = {"type": "SGD", "args": {"lr": "fast", "momentun": 0.9}}
    assert check_spec(torch.optim, torch.optim.Optimizer, bad, "optimizer", {"params"}) == [
        "optimizer.args.lr: expected a number, got 'fast'",
        "optimizer.args.momentun: SGD has no such argument; did you mean 'momentum'?",
    ]
