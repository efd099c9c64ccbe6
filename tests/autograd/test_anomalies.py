"""Anomaly detection: the search for the first gradient that is not finite."""

import pytest

import duograph as dg
from duograph.errors import CaptureError, GradError


def leaf(*values):
    return dg.tensor([float(v) for v in values], requires_grad=True)


def test_anomaly_names_the_forward_line_of_the_first_gradient_that_is_not_finite():
    x = leaf(0, 4)
    with dg.autograd.detect_anomaly(), pytest.raises(GradError) as error:
        root = x.sqrt()  # the culprit
        (root * 0).sum().backward()
    text = str(error.value)
    assert "the gradient of sqrt is the first with NaN" in text and "# the culprit" in text
    assert x.grad is None
    (x.sqrt() * 0).sum().backward()  # outside nobody looks


def test_anomaly_names_what_forward_made_first():
    x = leaf(0, 2)
    with dg.autograd.detect_anomaly(), pytest.raises(GradError) as error:
        y = x.log()  # here
        z = dg.where(x > 0, y * x, 0.0)
        z.sum().backward()
    text = str(error.value)
    assert "in forward, log gave Inf first" in text and "# here" in text


def test_anomaly_inf_and_given_gradients():
    x = leaf(0, 2)
    with dg.autograd.detect_anomaly():
        with pytest.raises(GradError, match="the gradient of log is the first with Inf"):
            x.log().sum().backward()
        with pytest.raises(GradError, match="held NaN already"):
            (x * 2).backward(dg.tensor([float("nan"), 1.0]))
        (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_anomaly_of_static_functions_and_its_switches():
    f = dg.static(lambda x: (x.sqrt() * 0).sum())
    x = leaf(0, 4)
    f(x)
    with dg.autograd.detect_anomaly(), pytest.raises(GradError, match="the gradient of sqrt is the first with NaN"):
        f(x).backward()
    f(x).backward()

    @dg.static
    def inside(x):
        with dg.autograd.detect_anomaly():
            return x * 2

    with pytest.raises(CaptureError, match="detect_anomaly"):
        inside(x)
    assert not dg.autograd.is_anomaly_enabled()
    switch = dg.autograd.set_detect_anomaly(True)
    assert dg.autograd.is_anomaly_enabled() and dg.autograd.is_anomaly_check_nan_enabled()
    with dg.autograd.set_detect_anomaly(False):
        assert not dg.autograd.is_anomaly_enabled()
        (x.sqrt() * 0).sum().backward()
    assert dg.autograd.is_anomaly_enabled()
    with switch:
        pass
    assert not dg.autograd.is_anomaly_enabled()
    with dg.autograd.detect_anomaly(check_nan=False):
        (x.sqrt() * 0).sum().backward()


def test_anomaly_detection_in_a_decorated_function_and_another_thread():
    import threading

    @dg.autograd.detect_anomaly()
    def step(x):
        x.sqrt().sum().backward()

    with pytest.raises(GradError):
        step(leaf(0))
    failures = []

    def work():
        x = leaf(0)
        x.sqrt().sum().backward()
        failures.append(x.grad.tolist())

    with dg.autograd.detect_anomaly():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert failures == [[float("inf")]]
