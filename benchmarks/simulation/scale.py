"""What a virtual month of the reference partnership costs: seconds and memory against the number of runs.

Each size runs in a process of its own, in one thread. Figures go into scale.json beside this file, and the plot into
scale.svg (needs renkei[sim,report]). Sizes that are there already are measured again only when they are asked for.
Processor time is what counts where other programs share the machine; wall time is kept, too.
"""

import argparse
import gc
import json
import math
import multiprocessing
import platform
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent


def measure(runs: int, seed: int) -> dict[str, float | int | str]:
    """Run the scenario with so many trials; return what it cost."""
    from renkei.sim import load_scenario, run_scenario

    gc.set_threshold(20_000, 20, 50)  # as the command line does
    scenario = load_scenario().with_scale(runs=runs)
    began, began_cpu = time.perf_counter(), time.process_time()
    result = run_scenario(scenario, seed=seed)
    return {
        "size": runs,
        "runs": result.n_runs,
        "virtual_days": round(result.ended_s / 86_400, 2),
        "records": result.n_records,
        "campaigns": len(result.campaigns),
        "discoveries": sum(each.discovered_s is not None for each in result.campaigns),
        "cpu_s": round(time.process_time() - began_cpu, 1),
        "wall_s": round(time.perf_counter() - began, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "python": platform.python_version(),
        "processor": _processor(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def draw(figures: list[dict[str, float | int | str]], path: Path) -> None:
    """Draw processor time and peak memory against runs, beside what n log n would be."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    runs = [float(each["runs"]) for each in figures]
    seconds = [float(each["cpu_s"]) for each in figures]
    memory = [float(each["peak_mb"]) for each in figures]
    with mpl.rc_context({"svg.hashsalt": "scale", "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9.0, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.loglog(runs, seconds, "o-", label="measured")
        unit = seconds[0] / (runs[0] * math.log(runs[0]))
        left.loglog(runs, [unit * n * math.log(n) for n in runs], "--", color="0.6", label="n log n through the first")
        left.axhline(600, color="C3", linewidth=0.8)
        left.set(xlabel="runs", ylabel="processor time [s]", title="Cost of a virtual month (red: 10 minutes)")
        left.legend(frameon=False)
        right.loglog(runs, memory, "o-")
        right.axhline(4096, color="C3", linewidth=0.8)
        right.set(xlabel="runs", ylabel="peak memory [MB]", title="Memory (red: 4 GB)")
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, write and draw."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("sizes", nargs="*", type=int, help="numbers of runs; left out: 10000 100000 1000000")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--out", type=Path, default=HERE, help="where scale.json and scale.svg lie")
    given = arguments.parse_args()
    kept = given.out / "scale.json"
    known = {each["size"]: each for each in json.loads(kept.read_text())} if kept.exists() else {}
    for size in given.sizes or (10_000, 100_000, 1_000_000):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            known[size] = fresh.submit(measure, size, given.seed).result()
        print(json.dumps(known[size]))
        kept.write_text(json.dumps([known[size] for size in sorted(known)], indent=1) + "\n")
    draw([known[size] for size in sorted(known)], given.out / "scale.svg")


if __name__ == "__main__":
    main()
