"""Planners of others behind the planner port: Optuna, Ax, PHYSBO, NIMO, and any generator of the gest standard.

Each module imports its package on use, so none has to be installed.
"""
