"""Circuits of rectangular rotated surface codes under the noise of one device, for stim."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import stim

Basis = Literal["X", "Z"]
Place = tuple[int, int]

_ORDER: dict[Basis, tuple[Place, ...]] = {
    "X": ((1, 1), (-1, 1), (1, -1), (-1, -1)),
    "Z": ((1, 1), (1, -1), (-1, 1), (-1, -1)),
}
"""In which order a check meets its data qubits: an error half-way then spreads across the logical operator of its
own kind and not along it, so that the distance is not halved (Tomita & Svore, Phys. Rev. A 90, 062320, 2014)."""


@dataclass(frozen=True)
class Patch:
    """A rotated surface code on `columns` x `rows` data qubits, which sit at odd coordinates and checks at even ones.

    The logical Z operator is a row of Zs and has the weight `columns`; the logical X operator is a column of Xs and
    has the weight `rows`. Both may be even.
    """

    columns: int
    rows: int

    @cached_property
    def data(self) -> tuple[Place, ...]:
        """The data qubits, row by row."""
        return tuple((2 * c + 1, 2 * r + 1) for r in range(self.rows) for c in range(self.columns))

    @cached_property
    def checks(self) -> dict[Place, Basis]:
        """The check qubits and what they measure: Z checks close the left and right, X checks top and bottom."""
        found: dict[Place, Basis] = {}
        for y in range(0, 2 * self.rows + 1, 2):
            for x in range(0, 2 * self.columns + 1, 2):
                kind: Basis = "X" if (x // 2 + y // 2) % 2 else "Z"
                left_right = x in (0, 2 * self.columns)
                top_bottom = y in (0, 2 * self.rows)
                if not (left_right and kind == "X") and not (top_bottom and kind == "Z"):
                    found[x, y] = kind
        return found

    @property
    def n_qubits(self) -> int:
        """Data and check qubits."""
        return len(self.data) + len(self.checks)

    def neighbours(self, check: Place) -> list[Place]:
        """The data qubits of a check, in the order of its gates."""
        return [place for place in self._steps(check) if place is not None]

    def _steps(self, check: Place) -> list[Place | None]:
        x, y = check
        places = ((x + dx, y + dy) for dx, dy in _ORDER[self.checks[check]])
        return [p if 0 < p[0] < 2 * self.columns and 0 < p[1] < 2 * self.rows else None for p in places]

    def layers(self) -> list[list[tuple[Place, Place]]]:
        """The four layers of CX gates of one round, as (control, target)."""
        layers: list[list[tuple[Place, Place]]] = [[] for _ in range(4)]
        for check, kind in self.checks.items():
            for layer, place in zip(layers, self._steps(check), strict=True):
                if place is not None:
                    layer.append((check, place) if kind == "X" else (place, check))
        return layers


@dataclass(frozen=True, slots=True)
class Noise:
    """Probabilities of what goes wrong in one round.

    Args:
        gate: Two-qubit depolarising error of a CX.
        flip: Chance that a measurement or a reset gives the wrong result.
        idle_gate: (X, Y, Z) errors of every qubit during one layer of gates.
        idle_readout: (X, Y, Z) errors of every data qubit while checks are measured and reset.
    """

    gate: float
    flip: float
    idle_gate: tuple[float, float, float]
    idle_readout: tuple[float, float, float]


def idling(time: float, relaxation_time: float, coherence_time: float) -> tuple[float, float, float]:
    """Return the (X, Y, Z) error probabilities of a qubit that waits; all times in one unit.

    Amplitude and phase damping under a Pauli twirl: with T1 and T2, p_X = p_Y = (1 - exp(-t/T1)) / 4 and
    p_Z = (1 - exp(-t/T2)) / 2 - p_X (Tomita & Svore, Phys. Rev. A 90, 062320, 2014).
    """
    flip = -math.expm1(-time / relaxation_time) / 4
    return flip, flip, max(0.0, -math.expm1(-time / coherence_time) / 2 - flip)


def memory(patch: Patch, basis: Basis, rounds: int, noise: Noise) -> "stim.Circuit":
    """Return the circuit that keeps a logical state of `basis` for `rounds` rounds of checks and reads it out.

    Its one observable is the logical operator of `basis`. Its detectors are the checks of the same kind, which see
    every error that flips the observable; checks of the other kind are measured but not compared.
    """
    import stim

    number = {place: k for k, place in enumerate([*patch.data, *patch.checks])}
    data = [number[place] for place in patch.data]
    kinds: dict[Basis, list[int]] = {"X": [], "Z": []}
    for place, kind in patch.checks.items():
        kinds[kind].append(number[place])
    seen = [place for place, kind in patch.checks.items() if kind == basis]
    order = kinds["X"] + kinds["Z"]  # as they are measured
    n = len(order)
    record = {qubit: k - n for k, qubit in enumerate(order)}
    flipped = "Z_ERROR" if basis == "X" else "X_ERROR"

    def one_round(first: bool) -> stim.Circuit:
        circuit = stim.Circuit()
        circuit.append("RX", kinds["X"])
        circuit.append("R", kinds["Z"])
        circuit.append("Z_ERROR", kinds["X"], noise.flip)
        circuit.append("X_ERROR", kinds["Z"], noise.flip)
        circuit.append("TICK", ())
        for layer in patch.layers():
            pairs = [number[place] for pair in layer for place in pair]
            circuit.append("CX", pairs)
            circuit.append("DEPOLARIZE2", pairs, noise.gate)
            circuit.append("PAULI_CHANNEL_1", data + order, noise.idle_gate)
            circuit.append("TICK", ())
        circuit.append("MX", kinds["X"], noise.flip)
        circuit.append("M", kinds["Z"], noise.flip)
        circuit.append("PAULI_CHANNEL_1", data, noise.idle_readout)
        circuit.append("TICK", ())
        for place in seen:
            now = record[number[place]]
            circuit.append("DETECTOR", _records([now] if first else [now, now - n]), (*place, 0))
        circuit.append("SHIFT_COORDS", [], (0, 0, 1))
        return circuit

    circuit = stim.Circuit()
    for place, k in number.items():
        circuit.append("QUBIT_COORDS", [k], place)
    circuit.append("RX" if basis == "X" else "R", data)
    circuit.append(flipped, data, noise.flip)
    circuit += one_round(first=True)
    if rounds > 1:
        circuit += one_round(first=False) * (rounds - 1)
    circuit.append("MX" if basis == "X" else "M", data, noise.flip)
    last = {place: k - len(data) for k, place in enumerate(patch.data)}
    for place in seen:
        ends = [last[p] for p in patch.neighbours(place)]
        circuit.append("DETECTOR", _records([*ends, record[number[place]] - len(data)]), (*place, 0))
    line = [k for (x, y), k in last.items() if (y if basis == "Z" else x) == 1]
    circuit.append("OBSERVABLE_INCLUDE", _records(line), 0)
    return circuit


def _records(offsets: Iterable[int]) -> "list[stim.GateTarget]":
    import stim

    return [stim.target_rec(offset) for offset in offsets]
