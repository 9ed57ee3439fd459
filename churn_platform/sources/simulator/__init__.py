"""A SaaS company that does not exist: its raw tables, in the relational shape, with the truth about them
apart.

The specification is :class:`churn_platform.sources.simulator.spec.SimulationSpec`; the work is done by
:func:`churn_platform.sources.simulator.simulate.simulate`.
"""
