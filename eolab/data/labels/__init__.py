"""Labels from an old map: which samples still show their class.

:mod:`~eolab.data.labels.clusters` keeps the frequent and pure clusters of each class,
:mod:`~eolab.data.labels.confident` finds labels that classifiers doubt, and
:mod:`~eolab.data.labels.selection` keeps account of what is refused and why.
"""
