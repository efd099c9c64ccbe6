"""The examples that train: a few steps of each; going on from a checkpoint gives the weights of an unbroken training."""

from __future__ import annotations

import importlib
import pathlib
import sys

import pytest

import duograph as dg

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
QUICK = ["--plain", "--small", "--batch", "4"]


@pytest.fixture
def example(monkeypatch, tmp_path):
    """Runs an example's `main` in an empty folder."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    yield lambda name, *arguments: importlib.import_module(name).main(list(arguments))
    for name in ("training", "classify", "language", "autoencode"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("model", ["resnet50", "mobilenet_v2", "vit_tiny"])
def test_classifies(example, capsys, model, tmp_path):
    example("classify", "--model", model, "--steps", "2", *QUICK)
    said = capsys.readouterr().out
    assert "steps 1 to 2: loss" in said and f"kept in {model}.safetensors" in said
    assert "accuracy on held-out digits: " in said and "the same digits, 64×64: " in said
    assert [path.name for path in tmp_path.iterdir()] == [f"{model}.safetensors"]


@pytest.mark.parametrize("model", ["gpt2", "lstm"])
def test_writes(example, capsys, model):
    example("language", "--model", model, "--steps", "1", "--length", "12", "--write", "8", *QUICK)
    said = capsys.readouterr().out
    assert f"kept in {model}.safetensors" in said
    texts = said.split("-" * 60 + "\n")
    assert len(texts) == 4
    assert texts[1].startswith("The ") and texts[2].startswith("If an object ")
    assert len(texts[1]) == len("The ") + 8 + 1


CASES = {
    "resnet18": ["classify", "--model", "resnet18"],
    "gpt2": ["language", "--model", "gpt2", "--length", "12"],
    "lstm": ["language", "--model", "lstm", "--length", "12"],
    "autoencoder": ["autoencode"],
}


@pytest.mark.parametrize("case", CASES)
def test_goes_on_from_a_checkpoint_to_the_bit(example, capsys, case):
    """Optimiser, running statistics and dropout's random numbers included."""
    arguments = [*CASES[case], *QUICK, "--train-only"]
    example(*arguments, "--steps", "3", "--checkpoint", "whole")
    example(*arguments, "--steps", "1", "--checkpoint", "parts")
    example(*arguments, "--steps", "3", "--checkpoint", "parts", "--resume")
    assert "going on from step 1 of parts" in capsys.readouterr().out
    whole, parts = dg.load("whole"), dg.load("parts")
    assert whole["step"] == parts["step"] == 3
    assert flat(whole["model"]) == flat(parts["model"])
    assert flat(whole["optimizer"]) == flat(parts["optimizer"])


def flat(value):
    if isinstance(value, dict):
        return {name: flat(held) for name, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [flat(held) for held in value]
    return value.numpy().tobytes() if isinstance(value, dg.Tensor) else value


def test_a_step_without_a_static_program_and_further_options(example, capsys):
    example("autoencode", *QUICK, "--steps", "2", "--dynamic", "--save-every", "1", "--seed", "3", "--resume")
    assert "going on" not in capsys.readouterr().out  # there is nothing yet
    with pytest.raises(SystemExit):
        example("autoencode", "--help")
    assert "file to keep the state in (default autoencoder.safetensors)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("installed", [True, False])
def test_progress_with_and_without_tqdm(example, capsys, monkeypatch, installed):
    if not installed:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    example("autoencode", "--small", "--batch", "4", "--steps", "4", "--save-every", "2", "--train-only")
    said, bar = capsys.readouterr()
    assert ("step 2 of 4: loss" in said) != installed
    assert ("4/4" in bar) == installed
