"""Are schedules torch's at every step, the same known and traced?"""

import numpy as np
import pytest

import lamina as lm

optim = lm.optim
schedules = optim.schedules
STEPS = 40

TORCH = {
    "step": (schedules.step(0.1, 7, 0.5), "StepLR", dict(step_size=7, gamma=0.5), 0.1),
    "multi_step": (schedules.multi_step(0.1, [3, 20], 0.3), "MultiStepLR", dict(milestones=[3, 20], gamma=0.3), 0.1),
    "exponential": (schedules.exponential(0.1, 0.9), "ExponentialLR", dict(gamma=0.9), 0.1),
    "linear": (schedules.linear(0.1, 0.02, 25), "LinearLR",
               dict(start_factor=1.0, end_factor=0.2, total_iters=25), 0.1),
    "polynomial": (schedules.polynomial(0.1, 0.0, 25, 2.0), "PolynomialLR", dict(total_iters=25, power=2.0), 0.1),
    "cosine": (schedules.cosine(0.1, STEPS - 1, 0.01), "CosineAnnealingLR", dict(T_max=STEPS - 1, eta_min=0.01), 0.1),
    "warmup": (schedules.warmup(0.1, 10, 0.01), "LinearLR", dict(start_factor=0.1, total_iters=10), 0.1),
    "one_cycle": (schedules.one_cycle(0.1, STEPS), "OneCycleLR", dict(max_lr=0.1, total_steps=STEPS), 0.1),
}


def of_torch(kind, options, rate, steps=STEPS):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = getattr(torch.optim.lr_scheduler, kind)(optimizer, **options)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step() if len(rates) < steps else None
    return rates


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_schedule_is_that_of_torch(name):
    schedule, *reference = TORCH[name]
    compiled = lm.jit(schedule)
    for step, expected in enumerate(of_torch(*reference)):
        for value in (schedule(step), schedule(np.int32(step)), compiled(np.int32(step))):
            np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-9)
            assert np.asarray(value).dtype == np.float32 and np.shape(value) == ()


def test_schedules_after_each_other():
    schedule = schedules.warmup(schedules.cosine(1.0, 10), 5)
    values = [float(schedule(i)) for i in range(20)]
    np.testing.assert_allclose(values[:6], np.arange(6) / 5, rtol=1e-6)
    assert values[5] == 1 and abs(values[10] - 0.5) < 1e-6 and values[15:] == pytest.approx([0] * 5, abs=1e-7)
    joined = schedules.join([schedules.constant(1.0), schedules.constant(2.0), schedules.linear(3.0, 4.0, 2)], [2, 4])
    assert [float(joined(i)) for i in range(8)] == [1, 1, 2, 2, 3, 3.5, 4, 4]
    with pytest.raises(ValueError, match="3 schedules need 2 boundaries"):
        schedules.join([schedules.constant(1.0)] * 3, [1])


@pytest.mark.parametrize("options", [{}, {"patience": 1, "cooldown": 2},
                                     {"mode": "max", "factor": 0.5, "minimum": 0.03}])
def test_plateau_is_that_of_torch(options):
    torch = pytest.importorskip("torch")
    options = {"patience": 2, **options}
    plateau = optim.Plateau(0.1, **options)
    theirs = {"min_lr" if k == "minimum" else k: v for k, v in options.items()}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **theirs)
    values = [5, 4, 4, 4, 4, 4, 3, 3.0001, 3, 3, 3, 2.99995, 2, 2, 2, 2, 2, 2, 9, 1]
    state, traced, update = plateau.init(), plateau.init(), lm.jit(plateau.update)
    for value in values:
        scheduler.step(value)
        state, traced = plateau.update(state, value), update(traced, np.float32(value))
        for s in (state, traced):
            assert float(s["learning_rate"]) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-5)
            assert s["bad"] == scheduler.num_bad_epochs and s["bad"].dtype == np.int32
    with pytest.raises(ValueError, match="no mode 'least'"):
        optim.Plateau(0.1, mode="least")
