"""Quantum information: error-corrected memories, with stim and PyMatching (extra `quantum`)."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

from renkei.model.procedure import Unit, procedure
from renkei.science._surface_code import Basis, Noise, Patch, idling, memory

if TYPE_CHECKING:
    import stim

GATE_FLOOR = 0.001
"""Two-qubit error that no gate time removes."""
GATE_RAMP_NS = 5.0
"""A gate that is faster by this much leaves e times more error behind (adiabaticity)."""
READOUT_INTEGRATION_NS = 10.0
"""Integration after which the readout signal stands out of the noise by one standard deviation."""
RESET_NS = 100.0
"""Time that a check qubit's reset takes."""
BATCH = 1000
ENOUGH_FLIPS = 400
"""Sampling ends early at the first whole batch with this many logical flips: 5 % standard error."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one logical qubit of the design is like."""

    logical_error_rate: Annotated[float, Unit("1")]
    logical_error_rate_std: Annotated[float, Unit("1")]
    logical_lifetime: Annotated[float, Unit("us")]
    cycle_time: Annotated[float, Unit("ns")]
    qubits: Annotated[int, Unit("1")]


@procedure("quantum.surface-code-memory", version="1.0")
def surface_code_memory(
    distance_x: Annotated[int, Interval(ge=2, le=11)],
    distance_z: Annotated[int, Interval(ge=2, le=11)],
    gate_time: Annotated[float, Interval(ge=10, le=100), Unit("ns")],
    readout_time: Annotated[float, Interval(ge=50, le=1500), Unit("ns")],
    relaxation_time: Annotated[float, Interval(ge=5, le=1000), Unit("us")] = 100.0,
    coherence_time: Annotated[float, Interval(ge=2, le=2000), Unit("us")] = 25.0,
    rounds: Annotated[int, Interval(ge=2, le=100)] = 10,
    shots: Annotated[int, Interval(ge=100, le=1_000_000)] = 10_000,
    seed: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 0,
) -> Memory:
    """Simulate a logical qubit in a rectangular rotated surface code on a superconducting device with biased noise.

    Monte Carlo with stim over circuits of repeated checks, decoded by minimum-weight perfect matching (PyMatching),
    for a logical Z state and a logical X state in turn. What there is to choose pulls in opposite directions:

    - More distance suppresses errors and costs qubits. Qubits dephase sooner than they relax, so that logical Z
      errors are the likelier ones and a patch longer in `distance_z` spends its qubits better than a square.
    - A faster two-qubit gate is less adiabatic, a slower one lets all qubits decay:
      error = 0.001 + 0.5 exp(-gate_time / 5 ns), depolarising.
    - A faster readout is less certain, a slower one lets data qubits decay. With SNR^2 = readout_time / 10 ns,
      error = erfc(SNR / (2 sqrt 2)) / 2 + (1 - exp(-readout_time / T1)) / 4: overlap of two Gaussians (Walter et al.,
      Phys. Rev. Applied 7, 054020, 2017) and relaxation during the readout.

    Waiting qubits suffer amplitude and phase damping under a Pauli twirl (Tomita & Svore, Phys. Rev. A 90, 062320,
    2014). The constants are typical of superconducting devices and describe no particular one.

    Args:
        distance_x: Weight of the logical X operator: how many X errors it takes to flip a logical Z state.
        distance_z: Weight of the logical Z operator: how many Z errors it takes to flip a logical X state.
        gate_time: Duration of each of a round's four layers of two-qubit gates.
        readout_time: Duration of the measurement of check qubits; their reset takes another 100 ns.
        relaxation_time: T1 of the qubits.
        coherence_time: T2 of the qubits, at most twice T1.
        rounds: Rounds of checks in each shot.
        shots: Most shots for each of the two states; fewer where logical errors are frequent (from 400 of them).
        seed: Seed of the noise. The same seed gives the same result on the same kind of processor with the same
            version of stim.

    Returns:
        logical_error_rate: Chance per round that the qubit suffers a logical X or a logical Z error.
        logical_error_rate_std: Its standard error from the finite number of shots.
        logical_lifetime: Mean time to a logical error, cycle_time / logical_error_rate.
        cycle_time: Duration of one round.
        qubits: Data and check qubits: 2 distance_x distance_z - 1.

    Raises:
        ValueError: coherence_time is more than twice relaxation_time, which no qubit can have.
        ModuleNotFoundError: The packages stim and pymatching are not installed.
    """
    if coherence_time > 2 * relaxation_time:
        raise ValueError(
            f"coherence_time {coherence_time:g} us is more than twice relaxation_time {relaxation_time:g} us"
        )
    patch = Patch(columns=distance_z, rows=distance_x)
    noise = _noise(gate_time, readout_time, relaxation_time * 1000, coherence_time * 1000)
    error, variance = 0.0, 0.0
    bases: tuple[Basis, Basis] = ("Z", "X")
    for k, basis in enumerate(bases):
        flips, done = _logical_flips(memory(patch, basis, rounds, noise), shots, 2 * seed + k)
        rate, std = _per_round(flips, done, rounds)
        error = error + rate - error * rate
        variance += std**2
    cycle_time = 4 * gate_time + readout_time + RESET_NS
    return Memory(
        logical_error_rate=error,
        logical_error_rate_std=math.sqrt(variance),
        logical_lifetime=cycle_time / 1000 / error,
        cycle_time=cycle_time,
        qubits=patch.n_qubits,
    )


def _noise(gate_time: float, readout_time: float, t1: float, t2: float) -> Noise:
    """Return the noise of one round; all times in ns."""
    snr = math.sqrt(readout_time / READOUT_INTEGRATION_NS)
    return Noise(
        gate=GATE_FLOOR + 0.5 * math.exp(-gate_time / GATE_RAMP_NS),
        flip=math.erfc(snr / (2 * math.sqrt(2))) / 2 - math.expm1(-readout_time / t1) / 4,
        idle_gate=idling(gate_time, t1, t2),
        idle_readout=idling(readout_time + RESET_NS, t1, t2),
    )


def _logical_flips(circuit: "stim.Circuit", shots: int, seed: int) -> tuple[int, int]:
    """Return (in how many shots the decoder gets the observable wrong, how many shots that were)."""
    import numpy as np
    import pymatching  # pyright: ignore[reportMissingTypeStubs]

    matching = pymatching.Matching.from_detector_error_model(circuit.detector_error_model())
    sampler = circuit.compile_detector_sampler(seed=seed)
    flips, done = 0, 0
    while done < shots and flips < ENOUGH_FLIPS:
        batch = min(BATCH, shots - done)
        detections, observed = sampler.sample(batch, separate_observables=True, bit_packed=True)
        predicted = matching.decode_batch(detections, bit_packed_shots=True, bit_packed_predictions=True)
        flips += int(np.count_nonzero(predicted != observed))
        done += batch
    return flips, done


def _per_round(flips: int, shots: int, rounds: int) -> tuple[float, float]:
    """Return (error per round, its standard error) from how often the state had flipped after all rounds.

    Independent flips with chance e a round leave the state flipped with chance p = (1 - (1 - 2e)^rounds) / 2. Half a
    flip is added to the count (Jeffreys' prior), so that a design without a failure still has a finite rate.
    """
    p = (flips + 0.5) / (shots + 1)
    kept = max(1 - 2 * p, 1 / shots)  # beyond: no memory of the state is left to measure
    std = math.sqrt(p * (1 - p) / shots)
    return (1 - kept ** (1 / rounds)) / 2, min(0.5, std * kept ** (1 / rounds - 1) / rounds)
