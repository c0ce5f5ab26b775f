"""The list of problems."""

from benchmarks.planning.codes import beam_line, quantum_memory, stellarator
from benchmarks.planning.functions import functions
from benchmarks.planning.problem import Problem
from benchmarks.planning.tables import olympus, reactions

FAILURES = 0.2
FAILING = ("suzuki", "hartmann6-noisy")
"""Problems that are there a second time, with failures."""

BUDGETS = {1: 30, 8: 48}
"""Evaluations of a campaign by how many points are asked for at once."""

N_SEEDS = 10

QUICK = ("photo_pce10", "beam-line", "hartmann6-noisy", "func2c")
QUICK_BUDGETS = {1: 16, 8: 24}
"""The quick form."""


def problems() -> list[Problem]:
    """Return every problem: tables, codes, functions, and some of them once more with failures."""
    found = [*tables(), stellarator(), quantum_memory(), beam_line(), *functions()]
    return [*found, *(problem.with_failures(FAILURES) for problem in found if problem.name in FAILING)]


def calm_and_failing_tables() -> list[tuple[Problem, Problem]]:
    """Return each table, and the same with trials that fail."""
    return [(table, table.with_failures(FAILURES)) for table in tables()]


def tables() -> list[Problem]:
    """Return the tables of real experiments."""
    blend = ("donor_1", "donor_2", "acceptor_1", "acceptor_2")
    return [
        olympus("photo_pce10", "photodegradation of blends with PCE10, 4 shares", blend, maximise=False),
        olympus("photo_wf3", "photodegradation of blends with WF3, 4 shares", blend, maximise=False),
        olympus(
            "hplc",
            "peak area of a liquid chromatograph, 6 settings",
            ("sample_loop", "additional_volume", "tubing_volume", "sample_flow", "push_speed", "wait_time"),
            maximise=True,
        ),
        olympus(
            "suzuki",
            "yield of a Suzuki coupling, 4 settings",
            ("temperature", "pd_mol", "arbpin", "k3po4"),
            maximise=True,
        ),
        olympus(
            "fullerenes",
            "yield of a fullerene adduct in flow, 3 settings",
            ("reaction_time", "sultine", "temperature"),
            maximise=True,
        ),
        olympus("colors_n9", "distance of a mixed colour from green, 3 dyes", ("red", "green", "blue"), maximise=False),
        reactions(
            "buchwald-hartwig",
            "DreherDoyle.csv",
            "yield of a Buchwald-Hartwig amination, 4 choices",
            {"ligand": "ligand", "additive": "additive", "base": "base", "aryl halide": "halide"},
        ),
    ]
