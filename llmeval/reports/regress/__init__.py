"""The nightly gate: is a model worse than its pinned baseline, tonight or over the nights?

A *unit* is what gets a verdict: one metric of one task (or group of tasks) of one model.
"""
