"""Surface-code memories: the circuits are the codes they say, and the physics goes the right way."""

from typing import Any

import pytest

from renkei.model.procedure import outputs_of, procedure_of
from renkei.science._surface_code import Basis, Noise, Patch, idling, memory
from renkei.science.quantum import surface_code_memory

pytest.importorskip("pymatching", reason="needs the extra quantum: pip install 'renkei[quantum]'")
stim: Any = pytest.importorskip("stim", reason="needs the extra quantum: pip install 'renkei[quantum]'")

QUIET = Noise(gate=0.0, flip=0.0, idle_gate=(0.0, 0.0, 0.0), idle_readout=(0.0, 0.0, 0.0))
LOUD = Noise(gate=0.001, flip=0.001, idle_gate=(1e-4, 1e-4, 1e-3), idle_readout=(1e-4, 1e-4, 1e-3))
PATCHES = [Patch(3, 3), Patch(2, 2), Patch(4, 4), Patch(5, 3), Patch(3, 5), Patch(4, 3), Patch(2, 5)]


@pytest.mark.parametrize("patch", PATCHES, ids=str)
def test_patch_has_one_logical_qubit(patch: Patch) -> None:
    assert len(patch.data) == patch.columns * patch.rows
    assert len(patch.checks) == len(patch.data) - 1
    assert all(len(patch.neighbours(check)) in (2, 4) for check in patch.checks)


@pytest.mark.parametrize("patch", PATCHES, ids=str)
def test_no_qubit_is_in_two_gates_at_once(patch: Patch) -> None:
    for layer in patch.layers():
        busy = [place for gate in layer for place in gate]
        assert len(busy) == len(set(busy))


@pytest.mark.parametrize("basis", ["X", "Z"])
@pytest.mark.parametrize("patch", PATCHES, ids=str)
def test_without_noise_nothing_is_detected(patch: Patch, basis: Basis) -> None:
    circuit = memory(patch, basis, 3, QUIET)
    detections, observed = circuit.compile_detector_sampler(seed=0).sample(64, separate_observables=True)
    assert not detections.any()
    assert not observed.any()


@pytest.mark.parametrize("basis", ["X", "Z"])
@pytest.mark.parametrize("patch", PATCHES, ids=str)
def test_shortest_undetected_error_is_the_distance(patch: Patch, basis: Basis) -> None:
    circuit = memory(patch, basis, 3, LOUD)
    expected = patch.columns if basis == "X" else patch.rows
    assert len(circuit.shortest_graphlike_error()) == expected


@pytest.mark.parametrize("basis", ["X", "Z"])
def test_square_patch_has_the_detectors_of_stims_own_circuit(basis: Basis) -> None:
    ours = memory(Patch(3, 3), basis, 4, LOUD)
    theirs = stim.Circuit.generated(f"surface_code:rotated_memory_{basis.lower()}", distance=3, rounds=4)
    assert ours.num_qubits == 17
    assert ours.num_measurements == theirs.num_measurements
    own_kind = 4 * 5  # four checks of the kind; each compared in four rounds and with the final readout
    assert ours.num_detectors == own_kind
    assert ours.num_observables == theirs.num_observables == 1


def test_waiting_qubit_decays_as_t1_and_t2_say() -> None:
    x, y, z = idling(0.1, relaxation_time=100, coherence_time=25)
    assert x == y == pytest.approx(0.1 / 400, rel=1e-2)
    assert x + z == pytest.approx(0.1 / 50, rel=1e-2)
    assert idling(0.1, relaxation_time=100, coherence_time=200)[2] == pytest.approx(0, abs=1e-6)
    assert idling(1e9, relaxation_time=100, coherence_time=25) == pytest.approx((0.25, 0.25, 0.25))


def test_larger_patch_keeps_the_state_longer() -> None:
    small, middle, large = (surface_code_memory(d, d + 2, 40, 320, shots=4000) for d in (2, 4, 6))
    assert small.logical_error_rate > 3 * middle.logical_error_rate > 6 * large.logical_error_rate
    assert (small.qubits, middle.qubits, large.qubits) == (15, 47, 95)
    assert large.logical_lifetime > middle.logical_lifetime > small.logical_lifetime


def test_dephasing_makes_the_patch_that_is_longer_in_z_the_better_one() -> None:
    right, wrong = (surface_code_memory(x, z, 40, 320, shots=4000) for x, z in ((4, 6), (6, 4)))
    assert right.qubits == wrong.qubits
    assert right.logical_error_rate < wrong.logical_error_rate / 2


@pytest.mark.parametrize(("gate_time", "readout_time"), [(15, 320), (100, 320), (40, 60), (40, 1500)])
def test_gate_and_readout_have_a_best_duration_inside_their_bounds(gate_time: float, readout_time: float) -> None:
    best = surface_code_memory(5, 6, 40, 320, shots=2000)
    assert surface_code_memory(5, 6, gate_time, readout_time, shots=2000).logical_error_rate > best.logical_error_rate


def test_error_rate_of_a_round_does_not_depend_on_how_many_rounds_it_is_measured_over() -> None:
    few, many = (surface_code_memory(3, 4, 40, 320, rounds=rounds, shots=20_000) for rounds in (8, 16))
    spread = (few.logical_error_rate_std**2 + many.logical_error_rate_std**2) ** 0.5
    assert few.logical_error_rate == pytest.approx(many.logical_error_rate, abs=4 * spread, rel=0.1)


def test_standard_error_covers_the_scatter_between_seeds() -> None:
    runs = [surface_code_memory(3, 3, 40, 320, shots=1000, seed=seed) for seed in range(12)]
    rates = [run.logical_error_rate for run in runs]
    assert len(set(rates)) > 6
    mean = sum(rates) / len(rates)
    scatter = (sum((rate - mean) ** 2 for rate in rates) / (len(rates) - 1)) ** 0.5
    assert 0.4 < scatter / runs[0].logical_error_rate_std < 2.0


def test_same_seed_gives_the_same_result() -> None:
    assert surface_code_memory(3, 5, 40, 320, shots=500, seed=7) == surface_code_memory(
        3, 5, 40, 320, shots=500, seed=7
    )


def test_outputs_stay_finite_where_every_shot_or_none_fails() -> None:
    found = procedure_of(surface_code_memory)
    assert found is not None
    hopeless = surface_code_memory(2, 2, 10, 50, rounds=100, shots=100)
    assert outputs_of(hopeless, found.spec)[0]["logical_error_rate"] > 0.02
    flawless = surface_code_memory(7, 7, 60, 400, relaxation_time=1000, coherence_time=2000, rounds=2, shots=100)
    assert 0 < outputs_of(flawless, found.spec)[0]["logical_error_rate"] < 0.01


def test_time_of_a_cycle_adds_up() -> None:
    result = surface_code_memory(2, 3, 40, 320, shots=100)
    assert result.cycle_time == pytest.approx(4 * 40 + 320 + 100)
    assert result.logical_lifetime == pytest.approx(result.cycle_time * 1e-3 / result.logical_error_rate)


def test_coherence_beyond_twice_the_relaxation_is_refused() -> None:
    with pytest.raises(ValueError, match="more than twice"):
        surface_code_memory(3, 3, 40, 320, relaxation_time=10, coherence_time=21)
