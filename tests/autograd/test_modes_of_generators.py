"""Gradient modes as decorators: with and without parentheses, of functions and of generator functions; as in PyTorch."""

import pytest
import torch

import duograph as dg

LIBRARIES = [pytest.param(torch, id="torch"), pytest.param(dg, id="duograph")]
MODES = ["no_grad", "enable_grad", "inference_mode"]


def made(lib, name):
    return lib.set_grad_enabled(False) if name == "set_grad_enabled" else getattr(lib, name)()


@pytest.mark.parametrize("name", [*MODES, "set_grad_enabled"])
@pytest.mark.parametrize("lib", LIBRARIES)
def test_each_stretch_of_a_generator_runs_in_the_mode(lib, name):
    on, seen = name == "enable_grad", []

    @made(lib, name)
    def steps():
        try:
            seen.append(((yield lib.is_grad_enabled()), lib.is_grad_enabled()))
            yield 1
        except ValueError:
            yield "caught", lib.is_grad_enabled()
        finally:
            seen.append(lib.is_grad_enabled())
        return 7

    with lib.set_grad_enabled(not on):
        running = steps()
        assert next(running) is on and lib.is_grad_enabled() is not on
        assert running.send("sent") == 1 and seen == [("sent", on)]
        assert running.throw(ValueError()) == ("caught", on) and lib.is_grad_enabled() is not on
        running.close()
        assert seen[-1] is on and lib.is_grad_enabled() is not on

        def outer():
            seen.append((yield from steps()))

        assert list(outer()) == [on, 1]
        assert seen[-1] == 7 and lib.is_grad_enabled() is not on


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("lib", LIBRARIES)
def test_modes_decorate_without_parentheses(lib, name):
    @getattr(lib, name)
    def inside(offset, *, more=0):
        "What it says."
        return lib.is_grad_enabled(), offset + more

    with lib.no_grad():
        assert inside(1, more=2) == (name == "enable_grad", 3)
        assert not lib.is_grad_enabled()
    assert inside.__name__ == "inside" and inside.__doc__ == "What it says."


@pytest.mark.parametrize("lib", LIBRARIES)
def test_an_error_leaves_the_mode_as_it_was(lib):
    @lib.no_grad()
    def steps():
        yield 1
        raise KeyError("mine")

    running = steps()
    next(running)
    with pytest.raises(KeyError, match="mine"):
        next(running)
    assert lib.is_grad_enabled()
