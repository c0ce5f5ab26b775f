"""Compare planners. Stop it at any time, and go on with the same command."""

import argparse
import os
from pathlib import Path

from benchmarks.planning import results, runner
from benchmarks.planning.alone import N_SEEDS as N_SEEDS_ALONE
from benchmarks.planning.alone import SUBFOLDER
from benchmarks.planning.alone import jobs as jobs_alone
from benchmarks.planning.peers import ENTRIES
from benchmarks.planning.problems import BUDGETS, N_SEEDS, QUICK, QUICK_BUDGETS, problems


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the campaigns that are not in the results yet")
    run.add_argument("--planners", default="", help="names with commas between; all")
    run.add_argument("--without", default="", help="names of planners to leave out")
    run.add_argument("--problems", default="", help="names with commas between; all")
    run.add_argument("--batches", default="", help="1, 8; both")
    run.add_argument("--seeds", type=int, default=N_SEEDS, help="how many; they are 0, 1, ...")
    run.add_argument("--quick", action="store_true", help="a few problems, short campaigns, three seeds")
    run.add_argument("--tag", default="", help="keep results under this version instead of the installed one")
    run.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    run.add_argument("--folder", type=Path, help="where results are kept, if not in the repository")
    alone = commands.add_parser("alone", help="run renkei on tables until the best row is found")
    alone.add_argument("--seeds", type=int, default=N_SEEDS_ALONE, help="how many; they are 0, 1, ...")
    alone.add_argument("--tag", default="", help="keep results under this version instead of the installed one")
    alone.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    alone.add_argument("--folder", type=Path, help="where results are kept, if not in the repository")
    page = commands.add_parser("page", help="write the page and its plots from the results")
    page.add_argument("--folder", type=Path, help="where results are, if not in the repository")
    page.add_argument("--docs", type=Path, help="where to write it, if not into the documentation")
    given = parser.parse_args()
    if given.command == "run":
        _run(given)
    elif given.command == "alone":
        folder = given.folder or results.FOLDER
        runner.run(jobs_alone(folder, given.seeds, given.tag), given.workers, folder / SUBFOLDER)
    else:
        from benchmarks.planning.page import DOCS, write_page

        write_page(given.folder or results.FOLDER, given.docs or DOCS)


def _run(given: argparse.Namespace) -> None:
    planners = [e for e in ENTRIES if _has(given.planners, e.name) and e.name not in given.without.split(",")]
    chosen = [p for p in problems() if _has(given.problems, p.name) and (p.name in QUICK or not given.quick)]
    budgets = {b: n for b, n in (QUICK_BUDGETS if given.quick else BUDGETS).items() if _has(given.batches, str(b))}
    n_seeds = min(given.seeds, 3) if given.quick else given.seeds
    if given.quick and given.folder is None:
        raise SystemExit("The quick form needs --folder: its campaigns are shorter than those of the repository.")
    runner.run(
        runner.jobs(chosen, planners, budgets, n_seeds, given.tag), given.workers, given.folder or results.FOLDER
    )


def _has(names: str, name: str) -> bool:
    return not names or name in names.split(",")


if __name__ == "__main__":
    main()
